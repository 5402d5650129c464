//! The table as `ipvsadm` shows it: `listing` like `ipvsadm -Ln`, `listing -S` like `ipvsadm -Sn`.

mod rules;

use std::process::ExitCode;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{Destination, Forward, Result, Service, TunnelKind};

fn main() -> ExitCode {
    let save = std::env::args().nth(1).is_some_and(|argument| argument == "-S");
    match Client::connect().and_then(|mut client| if save { rules(&mut client) } else { list(&mut client) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("listing: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rules(client: &mut Client) -> Result<()> {
    for service in client.list_services()? {
        println!("{}", rules::of_service(&service));
        for server in client.list_destinations(&service.key)? {
            println!("{}", rules::of_destination(&service.key, &server));
        }
    }
    Ok(())
}

fn list(client: &mut Client) -> Result<()> {
    // Since 7.1 the connection table's size is that of this namespace, now.
    let info = client.get_info()?;
    println!("IP Virtual Server version {} (size={})", info.version, info.connection_table_size);
    println!("Prot LocalAddress:Port Scheduler Flags");
    println!("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn");
    for service in client.list_services()? {
        println!("{} {} {}", service.key, service.config.scheduler, flags(&service));
        for server in client.list_destinations(&service.key)? {
            println!(
                "  -> {:28} {:7} {:6} {:10} {:9}",
                server.key,
                forward(&server),
                server.config.weight,
                server.active_connections,
                server.inactive_connections
            );
        }
    }
    Ok(())
}

fn flags(service: &Service) -> String {
    rules::options_of(service).join(" ")
}

fn forward(server: &Destination) -> String {
    match server.config.forward {
        Forward::Masquerade => "Masq".to_owned(),
        Forward::Local => "Local".to_owned(),
        Forward::Direct => "Route".to_owned(),
        Forward::Bypass => "Bypass".to_owned(),
        Forward::Tunnel(tunnel) => match tunnel.kind {
            TunnelKind::Ipip => "Tunnel".to_owned(),
            TunnelKind::Gue { port } => format!("GUE:{port}"),
            TunnelKind::Gre => "GRE".to_owned(),
            TunnelKind::Other { kind, .. } => format!("Tunnel{kind}"),
        },
        Forward::Unnamed(number) => format!("{}", number as u32),
    }
}
