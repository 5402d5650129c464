//! What a file says, each value with its place and nothing judged yet. Every kind of config file becomes one of these.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipvs_netlink::Forward;

use super::check::CheckDraft;
use super::command::CommandDraft;
use super::policy::PolicyDraft;
use super::report::{Place, Problems};
use crate::core::model::{Drift, KernelSettings, Notify, OnStop, Refusals, Vip};

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A key's value, if the file gives one that can be read.
#[derive(Clone, Copy, Debug, Default)]
pub enum Field<T> {
    /// The file does not have the key.
    #[default]
    Missing,
    /// The file has it, and an error says why the value cannot be read. No error may follow from it.
    Broken,
    /// The file has it.
    Given(At<T>),
}

/// A whole file.
#[derive(Debug, Default)]
pub struct Draft {
    pub services: Field<List<ServiceDraft>>,
    pub defaults: Defaults,
    pub kernel: KernelSettings,
    pub on_stop: OnStop,
    pub refusals: Refusals,
    pub metrics: Option<SocketAddr>,
    pub notify: Option<Notify>,
}

/// What holds for services that do not say otherwise.
#[derive(Debug, Default)]
pub struct Defaults {
    pub check: Field<List<At<CheckDraft>>>,
    pub scheduler: Field<String>,
    pub forward: Field<Forward>,
}

impl Defaults {
    /// Whatever they say cannot be read.
    pub const BROKEN: Self = Self { check: Field::Broken, scheduler: Field::Broken, forward: Field::Broken };
}

/// One service.
#[derive(Debug)]
pub struct ServiceDraft {
    /// Where it begins.
    pub place: Place,
    pub name: Field<String>,
    pub listen: Field<List<At<Vip>>>,
    pub servers: Field<List<ServerDraft>>,
    pub ops: Field<bool>,
    pub scheduler: Field<String>,
    pub scheduler_flags: Field<List<At<String>>>,
    pub persistence: Field<PersistenceDraft>,
    pub forward: Field<Forward>,
    pub check: Field<List<At<CheckDraft>>>,
    pub policy: PolicyDraft,
    pub down_on_stop: Field<bool>,
    pub ha_suspend: Field<bool>,
    pub drift: Field<Drift>,
    pub drain: Field<Duration>,
}

/// For how long a client stays with a server, and who counts as one client.
#[derive(Clone, Debug)]
pub struct PersistenceDraft {
    pub timeout: Field<Duration>,
    pub prefix_v4: Field<i64>,
    pub prefix_v6: Field<i64>,
    pub engine: Field<String>,
}

/// Several values of one key.
#[derive(Debug)]
pub struct List<T> {
    pub items: Vec<T>,
    /// No entry is missing here because it could not be read.
    pub whole: bool,
}

/// One server.
#[derive(Debug)]
pub struct ServerDraft {
    pub address: At<SocketAddr>,
    pub weight: Field<i64>,
    pub forward: Field<Forward>,
    pub upper_threshold: Field<i64>,
    pub lower_threshold: Field<i64>,
    pub check: Field<List<At<CheckDraft>>>,
    pub on_up: Field<CommandDraft>,
    pub on_down: Field<CommandDraft>,
    /// It is one of the service's `fallback`.
    pub fallback: bool,
}

impl ServerDraft {
    /// The server at this address, of which no more is said.
    pub fn at(address: At<SocketAddr>) -> Self {
        Self {
            address,
            weight: Field::Missing,
            forward: Field::Missing,
            upper_threshold: Field::Missing,
            lower_threshold: Field::Missing,
            check: Field::Missing,
            on_up: Field::Missing,
            on_down: Field::Missing,
            fallback: false,
        }
    }
}

impl At<i64> {
    /// The number, if it lies in `range`; an error that names `what` if not.
    pub fn within<T>(&self, what: &str, range: RangeInclusive<T>, problems: &mut Problems) -> Option<T>
    where
        T: Copy + std::fmt::Display + PartialOrd + TryFrom<i64>,
    {
        let number = T::try_from(self.value).ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            problems.error(self.place, format!("{what} is {}, which is not {least} to {most}", self.value));
        }
        number
    }
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Missing | Self::Broken => None,
        }
    }

    /// The value as `judge` sees it; broken if it sees nothing valid.
    pub fn judged<U>(&self, judge: impl FnOnce(&At<T>) -> Option<U>) -> Field<U> {
        match self {
            Self::Missing => Field::Missing,
            Self::Broken => Field::Broken,
            Self::Given(at) => match judge(at) {
                Some(value) => Field::Given(At { value, place: at.place }),
                None => Field::Broken,
            },
        }
    }

    /// This one, or `other` if the file does not have this one.
    pub fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if matches!(self, Self::Missing) { other } else { self }
    }
}

impl Field<String> {
    /// The text, if the file has it; nothing if it cannot be read.
    pub fn optional(&self) -> Option<Option<String>> {
        match self {
            Self::Broken => None,
            field => Some(field.given().map(|at| at.value.clone())),
        }
    }
}

impl<T: Default> Field<T> {
    /// The value, or the type's default where there is none.
    pub fn into_value(self) -> T {
        match self {
            Self::Given(at) => at.value,
            Self::Missing | Self::Broken => T::default(),
        }
    }
}

impl<T: Copy> Field<T> {
    /// The value, or `default` where the file has none; none if it is broken.
    pub fn or_default(&self, default: T) -> Option<T> {
        match self {
            Self::Broken => None,
            field => Some(field.value_or(default)),
        }
    }

    /// The value, or `default` where there is none.
    pub fn value_or(&self, default: T) -> T {
        self.given().map_or(default, |at| at.value)
    }
}
