//! The commands of servers, and those that run at the end.

use std::sync::Arc;
use std::time::Duration;

use super::order::{A, B, VIP, config, service, world};
use crate::core::model::{Command, Commands, Service};
use crate::core::{Hook, Input};

fn command(word: &str) -> Option<Arc<Command>> {
    let argv = vec!["/bin/tell".to_owned(), word.to_owned()];
    Some(Arc::new(Command { argv, timeout: Duration::from_secs(1), network: false, user: None }))
}

/// With commands of A and of the service.
fn told() -> Service {
    let mut service = service(VIP, &[(A, 1), (B, 1)]);
    let own = Commands { on_up: command("a up"), on_down: command("a down") };
    service.own_commands.insert(A.parse().unwrap(), own);
    service.policy.quorum.on_up = command("up");
    service.policy.quorum.on_down = command("down");
    service
}

/// What ran, with the server that it was about and whether that is up.
fn ran(hooks: Vec<Hook>) -> Vec<(String, Option<String>, bool)> {
    let of = |hook: Hook| (hook.command.argv[1].clone(), hook.server.map(|it| it.0.to_string()), hook.up);
    hooks.into_iter().map(of).collect()
}

#[test]
fn a_server_s_commands_run_for_its_first_verdict_and_at_each_change() {
    let mut world = world();
    world.input(Input::Config(config(vec![told()])));
    assert_eq!(ran(std::mem::take(&mut world.hooks)), []);
    let a = |up: bool| (format!("a {}", if up { "up" } else { "down" }), Some(A.to_owned()), up);
    world.verdict(A, true);
    assert_eq!(ran(std::mem::take(&mut world.hooks)), [a(true), ("up".to_owned(), None, true)]);
    world.verdict(A, true);
    world.verdict(B, true);
    assert_eq!(ran(std::mem::take(&mut world.hooks)), []);
    world.verdict(A, false);
    world.verdict(A, false);
    assert_eq!(ran(std::mem::take(&mut world.hooks)), [a(false)]);
    world.input(Input::Config(config(vec![told()])));
    assert_eq!(ran(std::mem::take(&mut world.hooks)), [], "a reload is no change");
    world.verdict(A, true);
    assert_eq!(ran(std::mem::take(&mut world.hooks)), [a(true)]);
}

#[test]
fn at_the_end_those_that_are_up_are_told_that_it_is_over() {
    for wanted in [false, true] {
        let mut world = world();
        let service = Service { down_on_stop: wanted, ..told() };
        world.input(Input::Config(config(vec![service])));
        world.verdict(A, true);
        world.verdict(B, false);
        world.hooks.clear();
        world.input(Input::Stop);
        let both = [("a down".to_owned(), Some(A.to_owned()), false), ("down".to_owned(), None, false)];
        assert_eq!(ran(std::mem::take(&mut world.hooks)), if wanted { both.to_vec() } else { Vec::new() });
    }
}

#[test]
fn at_the_end_nobody_is_told_of_what_was_down_already() {
    let mut world = world();
    world.input(Input::Config(config(vec![Service { down_on_stop: true, ..told() }])));
    world.verdict(A, false);
    world.verdict(B, false);
    world.hooks.clear();
    world.input(Input::Stop);
    assert_eq!(ran(std::mem::take(&mut world.hooks)), []);
}
