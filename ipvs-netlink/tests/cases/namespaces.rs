//! Clients of another network namespace than their thread's.

use std::fs::File;
use std::sync::mpsc::channel;
use std::thread;

use super::*;

/// Gives `work` a namespace that another thread is in.
fn beside(work: impl FnOnce(File)) {
    thread::scope(|scope| {
        let (send_file, receive_file) = channel();
        let (finished, finish) = channel::<()>();
        scope.spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            send_file.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            let _ = finish.recv();
        });
        work(receive_file.recv().unwrap());
        drop(finished);
    });
}

pub fn blocking() {
    beside(|namespace| {
        let mut here = client();
        let mut there = Client::connect_in(&namespace).expect("connect there");
        there.add_service(&vip(0), &ops(&vip(0))).unwrap();
        assert_eq!(here.list_services().unwrap(), []);
        assert_eq!(there.list_services().unwrap().len(), 1);
        // This thread has stayed where it is.
        assert_eq!(client().list_services().unwrap(), []);
    });
    let error = Client::connect_in(File::open("/proc/self/status").unwrap()).map(drop).unwrap_err();
    assert_eq!(error.errno(), Some(22), "{error}");
}

#[cfg(feature = "tokio")]
pub fn tokio() {
    beside(|namespace| {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut there = ipvs_netlink::tokio::Client::connect_in(&namespace).await.expect("connect there");
            there.add_service(&vip(0), &ops(&vip(0))).await.unwrap();
            assert_eq!(there.list_services().await.unwrap().len(), 1);
            assert_eq!(client().list_services().unwrap(), []);
        });
    });
}
