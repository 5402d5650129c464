//! Reads the IPVS table of this network namespace.

use std::collections::BTreeSet;
use std::path::Path;

use ipvs_netlink::tokio::Client;
use ipvs_netlink::{Error, ServiceKey};

use super::{Facts, Skipped, read};
use crate::kernel::look;

const WHAT: &str = "IPVS services and servers";

impl Facts {
    pub(super) async fn read_table(&mut self, skipped: &mut Vec<Skipped>) {
        if Path::new("/proc/net/ip_vs").exists() {
            self.has_ipvs = Some(true);
        }
        let found = async {
            let mut client = Client::connect().await?;
            let info = client.get_info().await?;
            let keys: BTreeSet<ServiceKey> =
                client.list_services().await?.into_iter().map(|service| service.key).collect();
            let found = look::find(&mut client, &keys).await?;
            Ok::<_, Error>((info.version, found))
        };
        match found.await {
            Ok((version, found)) => {
                self.has_ipvs = Some(true);
                self.ipvs = Some(version);
                self.services = Some(found.into_iter().collect());
            }
            Err(Error::NotInKernel) => self.has_ipvs = Some(false),
            Err(error) => {
                let map = read("/proc/self/uid_map");
                let mut numbers = map.split_whitespace();
                let whole = numbers.next() == Some("0") && numbers.next() == Some("0");
                let note = if whole { "" } else { "; in a user namespace not even root may" };
                skipped.push(Skipped::new(WHAT, format!("{error}{note}")));
            }
        }
    }
}
