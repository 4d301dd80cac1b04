use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

fn producer(brokers: &str, patience: Duration) -> Producer {
    let cluster = Cluster { brokers: brokers.to_owned(), client_id: "test".to_owned(), options: Vec::new() };
    Producer::new(cluster, "t", "lz4", patience)
}

fn send(producer: &mut Producer, count: usize) -> Result<(), SinkError> {
    let payload = vec![b'x'; 1000];
    let mut batch = producer.begin()?;
    for number in 0..count {
        let headers = [("number", number.to_string())];
        batch.send(Message { key: "k", headers: &headers, payload: &payload })?;
    }
    batch.finish()
}

#[test]
fn all_is_delivered_through_errors_that_pass() {
    let mock = MockCluster::new(3).unwrap();
    mock.create_topic("t", 4, 3).unwrap();
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    mock.request_errors(RDKafkaApiKey::Produce, &errors);
    let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(20));
    send(&mut producer, 1000).unwrap();
    // The second batch counts from nothing, with the same client.
    send(&mut producer, 10).unwrap();
    send(&mut producer, 0).unwrap();
}

#[test]
fn more_than_the_queue_holds_is_sent_as_well() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 4, 1).unwrap();
    let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(20));
    send(&mut producer, 40 * 1024).unwrap();
}

#[test]
fn brokers_that_are_down_are_told_of_in_time_and_found_again() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 4, 1).unwrap();
    let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(1));
    mock.broker_down(1).unwrap();
    let begun = Instant::now();
    let error = send(&mut producer, 10).unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let place = mock.bootstrap_servers();
    let expected = format!(
        "kafka {place}: 0 of 10 messages were acknowledged: the others were not acknowledged within 1s"
    );
    assert!(error.starts_with(&expected), "{error}");
    mock.broker_up(1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while send(&mut producer, 10).is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn nobody_there_is_said_so() {
    let mut producer = producer("127.0.0.1:1", Duration::from_secs(3));
    let error = send(&mut producer, 1).unwrap_err().to_string();
    assert!(error.starts_with("kafka 127.0.0.1:1: 0 of 1 messages were acknowledged: "), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[test]
fn what_will_never_do_says_what_to_do() {
    let mock = MockCluster::new(1).unwrap();
    for (code, advice) in [
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            "this client may not write to the topic `t`; give it the right to",
        ),
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            "a message is too large; raise `max.message.bytes` of the topic `t`",
        ),
    ] {
        mock.clear_request_errors(RDKafkaApiKey::Produce);
        mock.request_errors(RDKafkaApiKey::Produce, &[code; 20]);
        let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(5));
        let error = send(&mut producer, 1).unwrap_err().to_string();
        assert!(error.ends_with(&format!("0 of 1 messages were acknowledged: {advice}")), "{error}");
    }
    let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(5));
    let mut batch = producer.begin().unwrap();
    let payload = vec![0; 1 << 21];
    let error = batch.send(Message { key: "", headers: &[], payload: &payload }).unwrap_err().to_string();
    assert!(error.contains("0 of 1 messages were acknowledged: a message is too large"), "{error}");
}

#[test]
fn a_topic_that_nobody_makes_is_named() {
    let mock = MockCluster::new(1).unwrap();
    mock.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let mut producer = producer(&mock.bootstrap_servers(), Duration::from_secs(6));
    let error = send(&mut producer, 1).unwrap_err().to_string();
    assert!(error.contains("there is no topic `t`, and the brokers do not make it by themselves"), "{error}");
}

#[test]
fn settings_that_librdkafka_refuses_are_told() {
    let mut producer = producer("127.0.0.1:1", Duration::from_secs(5));
    producer.cluster.options.push(("sasl.mechanism".into(), "GSSAPI".into()));
    producer.cluster.options.push(("security.protocol".into(), "sasl_plaintext".into()));
    let error = send(&mut producer, 1).unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1: the client cannot be set up: "), "{error}");
}
