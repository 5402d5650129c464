//! The rates of every service and server, anew every two seconds, which is how often the kernel estimates them.
//!
//! `rates`, or `rates COUNT` to stop after so many.

use std::time::Duration;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{Error, Stats};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map(|count| count.parse::<u32>()).transpose()?;
    let mut client = Client::connect()?;
    for round in 1.. {
        // The cursor home, and what is below it gone.
        print!("\x1b[H\x1b[J");
        println!(
            "{:44} {:>9} {:>9} {:>9} {:>12} {:>12}",
            "", "conn/s", "in/s", "out/s", "in byte/s", "out byte/s"
        );
        for service in client.list_services()? {
            print(&service.key.to_string(), &service.stats);
            match client.list_destinations(&service.key) {
                Ok(servers) => {
                    for server in servers {
                        print(&format!("  -> {} weight {}", server.key, server.config.weight), &server.stats);
                    }
                }
                // It went while we looked.
                Err(Error::NoSuchService(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if Some(round) == count {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(())
}

fn print(name: &str, stats: &Stats) {
    println!(
        "{name:44} {:>9} {:>9} {:>9} {:>12} {:>12}",
        stats.connections_rate,
        stats.packets_in_rate,
        stats.packets_out_rate,
        stats.bytes_in_rate,
        stats.bytes_out_rate
    );
}
