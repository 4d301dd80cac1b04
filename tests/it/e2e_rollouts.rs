//! `restart`, `stop` and `start` between a real supervisord and a real HAProxy.

use crate::support::World;

#[test]
fn a_restart_under_load_loses_no_request() {
    let world = World::apps(&["web1", "web2", "web3"], "");
    let load = world.load(8);
    let pids = ["web1", "web2", "web3"].map(|name| world.supervisord.pid(name));
    world.run(&["restart", "web*"]).expect(0).says("3 of 3 restarted");
    let (count, failures) = load.stop();
    assert!(count > 100 && failures.is_empty(), "{} of {count} failed: {failures:?}", failures.len());
    for (name, pid) in ["web1", "web2", "web3"].into_iter().zip(pids) {
        assert_ne!(world.supervisord.pid(name), pid, "{name}");
        assert_eq!(world.haproxy.statuses()[name], "UP");
    }
}
