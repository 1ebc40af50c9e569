package main

import (
	"math/rand/v2"
	"time"

	"github.com/nats-io/jwt/v2"
)

// The policy of policies/device.toml.
const (
	policyName      = "device"
	policyAccount   = "DEVICES"
	sessionLifetime = 12 * time.Hour
	sessionJitter   = 0.2
)

// grant is what an active device may do. The session never outlives the
// certificate.
func grant(userNkey, id string, notAfter, now time.Time) *jwt.UserClaims {
	lifetime := time.Duration(float64(sessionLifetime) * (1 + sessionJitter*(2*rand.Float64()-1)))
	expires := now.Add(lifetime)
	if notAfter.Before(expires) {
		expires = notAfter
	}

	user := jwt.NewUserClaims(userNkey)
	user.Name = id
	user.Audience = policyAccount
	user.Expires = expires.Unix()
	user.Pub.Allow = jwt.StringList{"device." + id + ".metrics.>", "device." + id + ".status", "device." + id + ".renew"}
	user.Sub.Allow = jwt.StringList{"device." + id + ".cmd", "device." + id + ".cmd.>", "_INBOX." + id + ".>"}
	user.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
	user.Subs = 100
	user.NatsLimits.Payload = 64 * 1024
	user.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	return user
}
