//! The reply rewrite: the nftables ruleset as a pure function, and running nft.
