//! `ipvsd reload`.

use std::process::ExitCode;

use hyper::StatusCode;

use crate::admin::{self, client};

pub fn main() -> ExitCode {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    match runtime.block_on(client::reload(&admin::socket())) {
        Ok(answer) => {
            eprint!("{}", answer.text);
            match answer.status {
                StatusCode::OK => {
                    println!("reloaded");
                    ExitCode::SUCCESS
                }
                StatusCode::UNPROCESSABLE_ENTITY => {
                    eprintln!("ipvsd: reload refused, the running config goes on");
                    ExitCode::from(super::BAD_CONFIG)
                }
                _ => {
                    eprintln!("ipvsd: reload refused, the running config goes on");
                    ExitCode::from(super::FAILED)
                }
            }
        }
        Err(error) => {
            eprintln!("ipvsd: {error}");
            ExitCode::from(super::FAILED)
        }
    }
}
