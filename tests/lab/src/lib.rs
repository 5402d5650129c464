//! The network and the machine in which ipvsd is tested.
