//! A UDP service with one-packet scheduling over two servers: `ops_service 192.0.2.53:53 10.0.1.11:53 10.0.1.12:53`.

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{DestinationConfig, DestinationKey, Error, Flags, Forward, ServiceConfig, ServiceKey};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addresses = std::env::args().skip(1).map(|address| address.parse());
    let service = ServiceKey::udp(addresses.next().ok_or("usage: ops_service VIP:PORT SERVER:PORT ...")??);
    let flags = Flags::exactly(Flags::ONE_PACKET);
    let config = ServiceConfig { flags, ..ServiceConfig::new("rr".parse()?, service.family()) };

    let mut client = Client::connect()?;
    match client.add_service(&service, &config) {
        Err(Error::AlreadyExists(_)) => client.set_service(&service, &config)?,
        result => result?,
    }
    for server in addresses {
        client.add_destination(
            &service,
            &DestinationKey(server?),
            &DestinationConfig::new(Forward::Masquerade, 1),
        )?;
    }
    println!("{:#?}", client.get_service(&service)?);
    Ok(())
}
