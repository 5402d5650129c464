//! Bugs that are planted between the core and the kernel, to see that the simulation would find such a one.

/// Each shows every other time that it could, but for those that say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// EEXIST is taken for success.
    ExistsIsSuccess,
    /// ENOENT for a server that is to be changed is taken for success.
    MissingIsSuccess,
    /// A failed call is taken for success.
    FaultIsSuccess,
    /// The empty dump of a service that is gone is taken for a service without servers.
    EmptyIsThere,
    /// A look is answered with what was found before.
    OldPicture,
    /// What a look found arrives after the results of later steps.
    LookLate,
    /// A glance sees nothing.
    DriftNotSeen,
    /// The first step of a batch is done twice.
    StepTwice,
    /// A weight is written twice.
    WeightTwice,
    /// The steps of a batch are done in reverse.
    LastStepFirst,
    /// The results of a batch never arrive.
    ResultsLost,
    /// A service is created without OPS.
    NoOps,
    /// All services are flushed to delete one.
    Flush,
    /// A server that is to have no weight is deleted.
    DeletedAtOnce,
    /// A reply rule goes with the weight of its server.
    RuleFirst,
    /// Rules that could not be set are said to be set.
    RulesNotSet,
    /// No change of the rules is ever told.
    TouchNotHeard,
    /// The state file is not written.
    NothingRemembered,
    /// No sysctl is ever set.
    SysctlNotSet,
    /// Up is taken for down.
    VerdictTurned,
    /// The alarm does not ring.
    WakeLost,
}

/// All of them.
pub const ALL: [Bug; 21] = [
    Bug::ExistsIsSuccess,
    Bug::MissingIsSuccess,
    Bug::FaultIsSuccess,
    Bug::EmptyIsThere,
    Bug::OldPicture,
    Bug::LookLate,
    Bug::DriftNotSeen,
    Bug::StepTwice,
    Bug::WeightTwice,
    Bug::LastStepFirst,
    Bug::ResultsLost,
    Bug::NoOps,
    Bug::Flush,
    Bug::DeletedAtOnce,
    Bug::RuleFirst,
    Bug::RulesNotSet,
    Bug::TouchNotHeard,
    Bug::NothingRemembered,
    Bug::SysctlNotSet,
    Bug::VerdictTurned,
    Bug::WakeLost,
];
