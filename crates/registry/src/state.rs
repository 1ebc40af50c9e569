use crate::text::named;

/// Where a device stands. A text that is none of these names is no state, and admits nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    /// Registered or claimed, waiting for approval.
    Pending,
    /// May log in.
    Active,
    /// May log in, with the policy's quarantine grant only.
    Quarantined,
    /// Locked out until it is enabled again.
    Disabled,
    /// Locked out for good; its certificates are revoked.
    Revoked,
    /// A tombstone: it keeps the id's history, its generation and its certificates' revocations.
    Deleted,
}

named!(DeviceState, UnknownDeviceState, "device state", {
    Pending => "pending",
    Active => "active",
    Quarantined => "quarantined",
    Disabled => "disabled",
    Revoked => "revoked",
    Deleted => "deleted",
});

impl DeviceState {
    /// Whether a device in this state may log in at all (quarantined: with the quarantine grant only).
    pub const fn admits(self) -> bool {
        matches!(self, Self::Active | Self::Quarantined)
    }

    /// Whether certificates may be issued to a device in this state. A pending device may hold one before its approval; a
    /// disabled one gets a new one when it is back.
    pub(crate) const fn may_be_issued(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Quarantined)
    }

    /// Whether the type, site and attributes of a device in this state may change.
    pub(crate) const fn may_be_edited(self) -> bool {
        !matches!(self, Self::Revoked | Self::Deleted)
    }

    /// The state that `action` leads to, or `None` where the action is not legal.
    pub fn after(self, action: Action) -> Option<Self> {
        TRANSITIONS
            .iter()
            .find(|(from, by, _)| (*from, *by) == (self, action))
            .map(|(_, _, to)| *to)
    }
}

/// What an operator does to a device's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let a pending device in.
    Approve,
    /// Let a disabled or quarantined device back in.
    Enable,
    /// Lock a device out until it is enabled.
    Disable,
    /// Narrow a device to the policy's quarantine grant.
    Quarantine,
    /// Lock a device out for good and revoke its certificates.
    Revoke,
    /// Remove a device and revoke its certificates; a tombstone stays.
    Delete,
}

named!(Action, UnknownAction, "device action", {
    Approve => "approve",
    Enable => "enable",
    Disable => "disable",
    Quarantine => "quarantine",
    Revoke => "revoke",
    Delete => "delete",
});

/// Every legal transition; what is not listed is refused.
///
/// | from \ action | approve | enable | disable  | quarantine  | revoke  | delete  |
/// |---------------|---------|--------|----------|-------------|---------|---------|
/// | pending       | active  |        |          |             | revoked | deleted |
/// | active        |         |        | disabled | quarantined | revoked | deleted |
/// | quarantined   |         | active | disabled |             | revoked | deleted |
/// | disabled      |         | active |          |             | revoked | deleted |
/// | revoked       |         |        |          |             |         | deleted |
/// | deleted       |         |        |          |             |         |         |
///
/// A pending device can't be disabled, since enabling it again would pass by its approval: it is approved, revoked or
/// deleted. A revoked device can only be deleted. A deleted id can only be registered again
/// ([`Change::register`](crate::Change::register)), which starts its next generation in `pending` or `active`.
pub const TRANSITIONS: &[(DeviceState, Action, DeviceState)] = {
    use Action::{Approve, Delete, Disable, Enable, Quarantine, Revoke};
    use DeviceState::{Active, Deleted, Disabled, Pending, Quarantined, Revoked};
    &[
        (Pending, Approve, Active),
        (Pending, Revoke, Revoked),
        (Pending, Delete, Deleted),
        (Active, Disable, Disabled),
        (Active, Quarantine, Quarantined),
        (Active, Revoke, Revoked),
        (Active, Delete, Deleted),
        (Quarantined, Enable, Active),
        (Quarantined, Disable, Disabled),
        (Quarantined, Revoke, Revoked),
        (Quarantined, Delete, Deleted),
        (Disabled, Enable, Active),
        (Disabled, Revoke, Revoked),
        (Disabled, Delete, Deleted),
        (Revoked, Delete, Deleted),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the table in the documentation of [`TRANSITIONS`], so that what people read is what is enforced.
    fn documented() -> Vec<(DeviceState, Action, DeviceState)> {
        let cells = |line: &'static str| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>();
        let mut rows = include_str!("state.rs")
            .lines()
            .filter(|line| line.starts_with("/// |"))
            .map(cells);
        let actions: Vec<_> = rows.next().unwrap()[1..]
            .iter()
            .filter_map(|name| Action::parse(name))
            .collect();
        assert_eq!(actions, Action::ALL);
        let mut found = Vec::new();
        for row in rows.skip(1) {
            let from = row[0].parse().unwrap();
            let to = row[1..]
                .iter()
                .zip(&actions)
                .filter(|(to, _)| !to.is_empty());
            found.extend(to.map(|(to, action)| (from, *action, to.parse().unwrap())));
        }
        found
    }

    #[test]
    fn the_documented_table_is_the_enforced_one() {
        let mut documented = documented();
        let mut enforced = TRANSITIONS.to_vec();
        documented.sort();
        enforced.sort();
        assert_eq!(documented, enforced);
    }

    #[test]
    fn revoked_leads_to_deletion_only_and_deleted_nowhere() {
        for action in Action::ALL {
            let expected = (*action == Action::Delete).then_some(DeviceState::Deleted);
            assert_eq!(DeviceState::Revoked.after(*action), expected);
            assert_eq!(DeviceState::Deleted.after(*action), None);
        }
    }

    #[test]
    fn every_state_but_the_tombstone_can_be_revoked_or_is_and_can_be_deleted() {
        for state in DeviceState::ALL
            .iter()
            .filter(|state| **state != DeviceState::Deleted)
        {
            assert_eq!(state.after(Action::Delete), Some(DeviceState::Deleted));
            if *state != DeviceState::Revoked {
                assert_eq!(state.after(Action::Revoke), Some(DeviceState::Revoked));
            }
        }
    }

    #[test]
    fn names_are_exact() {
        for state in DeviceState::ALL {
            assert_eq!(DeviceState::parse(state.as_str()), Some(*state));
        }
        for text in ["", "Active", "active ", "ACTIVE", "enabled"] {
            assert_eq!(DeviceState::parse(text), None, "{text:?}");
        }
        let error = "Active".parse::<DeviceState>().unwrap_err().to_string();
        assert!(
            error.starts_with(r#""Active" is not a device state; known are: pending, active,"#),
            "{error}"
        );
    }
}
