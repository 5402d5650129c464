//! The tokio client.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::*;

fn block_on<F: Future>(future: F) -> F::Output {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn same_verbs() {
    // Spawned, as its futures must be fit to be.
    let conversation = async {
        let mut client = ipvs_netlink::tokio::Client::connect().await.unwrap();
        let (key, server) = (vip(0), server(0));
        client.add_service(&key, &ops(&key)).await.unwrap();
        assert!(matches!(client.add_service(&key, &ops(&key)).await, Err(Error::AlreadyExists(_))));
        let weight = weighted(Forward::Masquerade, 1);
        let add = |index| request::add_destination(&key, &numbered(index), &weight);
        let results = client.send_all((0..200).chain([7]).map(add)).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 200);
        assert!(matches!(results[200], Err(Error::AlreadyExists(_))));
        assert_eq!(client.list_destinations(&key).await.unwrap().len(), 200);
        assert!(matches!(client.delete_destination(&key, &server).await, Err(Error::NoSuchDestination(_))));
        client.delete_service(&key).await.unwrap();
        assert_eq!(client.list_services().await.unwrap(), []);
        assert!(matches!(client.list_destinations(&key).await, Err(Error::NoSuchService(_))));
    };
    block_on(async { ::tokio::spawn(conversation).await.unwrap() });
}

pub fn dropped_future() {
    // More datagrams than tokio lets a task read before it has to yield: the dump cannot finish in one poll.
    const MANY: u16 = 3000;

    block_on(async {
        let mut client = ipvs_netlink::tokio::Client::connect().await.unwrap();
        let key = vip(0);
        client.add_service(&key, &ops(&key)).await.unwrap();
        let weight = weighted(Forward::Masquerade, 1);
        let add = |index| request::add_destination(&key, &numbered(index), &weight);
        assert!(client.send_all((0..MANY).map(add)).await.iter().all(Result::is_ok));
        for _ in 0..3 {
            ::tokio::task::yield_now().await;
            let mut dump = pin!(client.list_destinations(&key));
            let finished = poll_fn(|context| Poll::Ready(dump.as_mut().poll(context).is_ready())).await;
            assert!(!finished, "the dump was to be dropped half-way");
        }
        ::tokio::task::yield_now().await;
        assert_eq!(client.list_destinations(&key).await.unwrap().len(), usize::from(MANY));
    });
}
