//! A destination on loopback, such as a carbon: it reads, and forgets or looks at what it reads.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::Outcome;

const CHUNK: usize = 256 * 1024;

/// Takes one connection after the other until the bench ends; gives its port. `take` has what comes, and nothing at
/// the end of a connection, before that is answered.
pub(crate) fn open(mut take: impl FnMut(&[u8]) + Send + 'static) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        for stream in listener.incoming().flatten() {
            drain(stream, &mut buffer, &mut take);
        }
    });
    Ok(port)
}

fn drain(mut stream: TcpStream, buffer: &mut [u8], take: &mut impl FnMut(&[u8])) {
    while let Ok(count @ 1..) = stream.read(buffer) {
        take(buffer.get(..count).unwrap_or_default());
    }
    take(&[]);
}
