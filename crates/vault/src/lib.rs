//! The registry in Vault: a [`DeviceStore`](leafgate_registry::DeviceStore) on KV v2, and an
//! [`Issuer`](leafgate_pki::Issuer) on the PKI engine.
