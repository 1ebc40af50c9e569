use serde::{Deserialize, Serialize};

use crate::role::{Permission, Roles};
use crate::scope::{Scope, Target};

/// What somebody may do, and to which devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// What.
    pub roles: Roles,
    /// To which devices.
    pub scope: Scope,
}

impl Authority {
    /// Whether whoever has this may give `other` away: it allows nothing that this doesn't.
    pub fn covers(&self, other: &Self) -> bool {
        self.roles.cover(&other.roles) && self.scope.covers(&other.scope)
    }
}

/// Whoever asks, once they have shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name in the audit trail and the log, such as `api-key:k3f9…` or `oidc:ann@example.com`.
    pub name: String,
    /// What they may do.
    pub authority: Authority,
}

impl Principal {
    /// That they have this permission at all, on whichever devices.
    ///
    /// # Errors
    /// [`RefuseError::Role`]
    pub fn check(&self, permission: Permission) -> Result<(), RefuseError> {
        if self.authority.roles.give(permission) {
            Ok(())
        } else {
            Err(RefuseError::Role { permission })
        }
    }

    /// That they have this permission on this device. For a change, to be asked of the device before and after it.
    ///
    /// # Errors
    /// [`RefuseError`]; with [`RefuseError::Scope`], whether the device exists should not be told.
    pub fn check_device(
        &self,
        permission: Permission,
        target: &Target<'_>,
    ) -> Result<(), RefuseError> {
        self.check(permission)?;
        if self.authority.scope.contains(target) {
            Ok(())
        } else {
            Err(RefuseError::Scope { permission })
        }
    }

    /// That they may act on the registry as a whole, and not only on a part of its devices.
    ///
    /// # Errors
    /// [`RefuseError`]
    pub fn check_everywhere(&self, permission: Permission) -> Result<(), RefuseError> {
        self.check(permission)?;
        if self.authority.scope == Scope::everything() {
            Ok(())
        } else {
            Err(RefuseError::Scope { permission })
        }
    }

    /// That they may give this authority away.
    ///
    /// # Errors
    /// [`RefuseError::Grant`]
    pub fn check_grant(&self, authority: &Authority) -> Result<(), RefuseError> {
        if self.authority.covers(authority) {
            Ok(())
        } else {
            Err(RefuseError::Grant)
        }
    }
}

/// Why somebody may not do what they asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefuseError {
    /// None of their roles allows it.
    #[error("this needs the permission {permission}, which none of your roles gives")]
    Role {
        /// What is missing.
        permission: Permission,
    },
    /// Their roles allow it, but not on this.
    #[error("your permission {permission} does not reach this: it is outside of your scope")]
    Scope {
        /// What does not reach far enough.
        permission: Permission,
    },
    /// They would give away more than they hold.
    #[error("nobody can give away more than they hold: ask for fewer roles, or a narrower scope")]
    Grant,
}

impl RefuseError {
    /// The reason in kebab-case, for logs, metrics and the audit trail.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Role { .. } => "role-insufficient",
            Self::Scope { .. } => "scope-exceeded",
            Self::Grant => "grant-exceeded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    fn principal(roles: &[Role], sites: &[&str]) -> Principal {
        let scope = if sites.is_empty() {
            Scope::everything()
        } else {
            Scope {
                sites: sites.iter().copied().collect(),
                ..Scope::everything()
            }
        };
        Principal {
            name: "api-key:test".to_owned(),
            authority: Authority {
                roles: roles.iter().copied().collect(),
                scope,
            },
        }
    }

    fn at<'a>(site: &'a str) -> Target<'a> {
        Target {
            trust_domain: "factory",
            site: Some(site),
            device_type: "pump",
        }
    }

    #[test]
    fn a_role_without_the_permission_is_told_from_a_scope_that_is_too_narrow() {
        let operator = principal(&[Role::Operator], &["north"]);
        let check = |permission, site| operator.check_device(permission, &at(site));
        assert_eq!(check(Permission::OperateDevices, "north"), Ok(()));
        let permission = Permission::OperateDevices;
        assert_eq!(
            check(permission, "south"),
            Err(RefuseError::Scope { permission })
        );
        let permission = Permission::ProvisionDevices;
        assert_eq!(
            check(permission, "north"),
            Err(RefuseError::Role { permission })
        );
    }

    #[test]
    fn nobody_gives_away_more_than_they_hold() {
        let admin_of_north = principal(&[Role::Admin], &["north"]);
        let grant = |roles: &[Role], sites: &[&str]| {
            admin_of_north.check_grant(&principal(roles, sites).authority)
        };
        assert_eq!(grant(&[Role::Admin], &["north"]), Ok(()));
        assert_eq!(grant(&[Role::Viewer], &["north"]), Ok(()));
        assert_eq!(
            grant(&[Role::Viewer], &["north", "south"]),
            Err(RefuseError::Grant)
        );
        assert_eq!(grant(&[Role::Viewer], &[]), Err(RefuseError::Grant));
        let provisioner = principal(&[Role::Provisioner], &[]);
        let operator = principal(&[Role::Operator], &[]);
        assert_eq!(
            provisioner.check_grant(&operator.authority),
            Err(RefuseError::Grant)
        );
    }

    #[test]
    fn the_whole_registry_is_for_those_whose_scope_is_everything() {
        let permission = Permission::ManageIssuers;
        assert_eq!(
            principal(&[Role::Admin], &[]).check_everywhere(permission),
            Ok(())
        );
        assert_eq!(
            principal(&[Role::Admin], &["north"]).check_everywhere(permission),
            Err(RefuseError::Scope { permission })
        );
    }
}
