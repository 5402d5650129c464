//! What the kernel answers is what the caller gets.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::*;

pub fn refusals() {
    let mut client = client();
    let (key, server) = (vip(0), server(0));
    let (config, weight) = (ops(&key), weighted(Forward::Masquerade, 1));
    let missing = [
        client.set_service(&key, &config).unwrap_err(),
        client.delete_service(&key).unwrap_err(),
        client.get_service(&key).unwrap_err(),
        client.add_destination(&key, &server, &weight).unwrap_err(),
        client.set_destination(&key, &server, &weight).unwrap_err(),
        client.delete_destination(&key, &server).unwrap_err(),
        client.list_destinations(&key).unwrap_err(),
    ];
    for error in missing {
        assert!(matches!(error, Error::NoSuchService(_)), "{error:?}");
        assert_eq!(error.operation().unwrap().service, Some(key));
        assert_eq!(error.errno(), Some(3));
    }

    let unknown = ServiceConfig::new(scheduler("no-such"), key.family());
    let error = client.add_service(&key, &unknown).unwrap_err();
    assert!(matches!(error, Error::NoSuchScheduler(_)), "{error:?}");

    client.add_service(&key, &config).unwrap();
    let error = client.add_service(&key, &config).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}");
    let error = client.set_service(&key, &unknown).unwrap_err();
    assert!(matches!(error, Error::NoSuchScheduler(_)), "{error:?}");

    for error in [
        client.set_destination(&key, &server, &weight).unwrap_err(),
        client.delete_destination(&key, &server).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoSuchDestination(_)), "{error:?}");
        assert_eq!(error.operation().unwrap().destination, Some(server));
    }
    client.add_destination(&key, &server, &weight).unwrap();
    let error = client.add_destination(&key, &server, &weight).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}");

    let gue = Forward::Tunnel(Tunnel {
        kind: TunnelKind::Other { kind: 1, port: 0 },
        checksum: TunnelChecksum::None,
    });
    let error = client.set_destination(&key, &server, &weighted(gue, 1)).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 22), "{error:?}");
    let other = DestinationKey("10.0.0.2:5300".parse().unwrap());
    let error = client.add_destination(&key, &other, &weighted(Forward::Direct, u32::MAX)).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 34), "{error:?}");
}

pub fn missing_is_not_empty() {
    let mut client = client();
    let key = vip(1);
    assert!(matches!(client.list_destinations(&key), Err(Error::NoSuchService(_))));
    client.add_service(&key, &ops(&key)).unwrap();
    assert_eq!(client.list_destinations(&key).unwrap(), []);
}

pub fn batch() {
    let mut client = client();
    let key = vip(0);
    let weight = weighted(Forward::Masquerade, 1);
    let add = |index| request::add_destination(&key, &numbered(index), &weight);
    let mut requests = vec![request::add_service(&key, &ops(&key)).unwrap()];
    requests.extend((0..198).map(add));
    requests.insert(100, add(50));
    let results = client.send_all(requests);
    assert_eq!(results.len(), 200);
    for (index, result) in results.iter().enumerate() {
        match (index, result) {
            (100, Err(error @ Error::AlreadyExists(_))) => {
                assert_eq!(error.operation().unwrap().destination, Some(numbered(50)));
            }
            (100, other) => panic!("the one in the middle: {other:?}"),
            (_, result) => assert!(result.is_ok(), "{index}: {result:?}"),
        }
    }
    assert_eq!(client.list_destinations(&key).unwrap().len(), 198);
    // An unknown scheduler and a stale family look alike to the kernel: the refusal must survive the difference.
    let unknown = ServiceConfig::new(scheduler("no-such"), key.family());
    let results = client.send_all(vec![
        request::set_service(&key, &unknown).unwrap(),
        request::delete_destination(&key, &numbered(0)),
        request::delete_destination(&key, &numbered(0)),
    ]);
    assert!(matches!(results[0], Err(Error::NoSuchScheduler(_))), "{results:?}");
    assert!(matches!(results[1], Ok(())), "{results:?}");
    assert!(matches!(results[2], Err(Error::NoSuchDestination(_))), "{results:?}");
    // What was refused is not made behind what came after it.
    let results = client.send_all([
        request::delete_destination(&key, &numbered(0)),
        request::add_destination(&key, &numbered(0), &weighted(Forward::Masquerade, 1)),
    ]);
    assert!(matches!(&results[..], [Err(Error::NoSuchDestination(_)), Ok(())]), "{results:?}");
    assert_eq!(client.list_destinations(&key).unwrap()[0].key, numbered(0));
}

pub fn large_dump() {
    let mut client = client();
    let key = vip(0);
    client.add_service(&key, &ops(&key)).unwrap();
    let weight = weighted(Forward::Masquerade, 1);
    let add = |index| request::add_destination(&key, &numbered(index), &weight);
    assert!(client.send_all((0..1000).map(add)).iter().all(Result::is_ok));
    let mut listed: Vec<_> =
        client.list_destinations(&key).unwrap().iter().map(|listed| listed.key).collect();
    listed.reverse();
    assert_eq!(listed, (0..1000).map(numbered).collect::<Vec<_>>());
}

pub fn info() {
    let mut client = client();
    // Since 7.1 the table is made for the first service.
    client.add_service(&vip(0), &ops(&vip(0))).unwrap();
    let info = client.get_info().unwrap();
    assert_eq!(info.version.to_string(), "1.2.1");
    assert!(info.connection_table_size >= 256, "{info:?}");
}

pub fn unprivileged() {
    // The program's own path may be closed to others; this one is not.
    let status = Command::new("/proc/self/exe").env(crate::UNPRIVILEGED, "1").uid(65534).status();
    assert!(status.expect("run as nobody").success());
}
