//! Words of the operator in which `{address}` and `{port}` stand for those of the server.

use std::net::SocketAddr;

/// The word for this server.
pub fn fill(word: &str, server: SocketAddr) -> String {
    word.replace("{address}", &server.ip().to_string()).replace("{port}", &server.port().to_string())
}
