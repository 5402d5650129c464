//! `ipvsd reload`.

use std::process::ExitCode;

use hyper::StatusCode;

use super::ask;

pub fn main() -> ExitCode {
    let answer = match ask::act("/reload", None) {
        Ok(answer) => answer,
        Err(status) => return status,
    };
    eprint!("{}", answer.text());
    if answer.status == StatusCode::OK {
        println!("reloaded");
        return ExitCode::SUCCESS;
    }
    eprintln!("ipvsd: reload refused, the running config goes on");
    ExitCode::from(match answer.status {
        StatusCode::UNPROCESSABLE_ENTITY => super::BAD_CONFIG,
        _ => super::FAILED,
    })
}
