package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
)

const (
	requestAudience = "nats-authorization-request"
	replyPrefix     = "$SYS._INBOX."
	xkeyHeader      = "Nats-Server-Xkey"
	clockLeeway     = 60 * time.Second
)

// decision is what became of one request. An empty reason is a grant; without a
// reply nothing is sent, so that forged requests learn nothing.
type decision struct {
	reason   string
	err      error
	device   string
	server   string
	clientID uint64
	serial   string
	reply    []byte
}

// denial is a refusal with the reason that operators see.
type denial struct {
	reason string
	err    error
}

func (d *denial) Error() string { return fmt.Sprintf("%s: %v", d.reason, d.err) }

func deny(reason, format string, args ...any) *denial {
	return &denial{reason: reason, err: fmt.Errorf(format, args...)}
}

func (s *service) decide(ctx context.Context, msg *nats.Msg, now time.Time) decision {
	request, serverXkey, denied := s.open(msg, now)
	if denied != nil {
		return decision{reason: denied.reason, err: denied.err}
	}
	d := decision{server: request.Server.Name, clientID: request.ClientInformation.ID}
	if err := s.servers.known(ctx, request.Server.ID); err != nil {
		d.reason, d.err = "server-unverified", err
		return d
	}

	user, denied := s.admit(request, now, &d)
	response := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	response.Audience = request.Server.ID
	if denied != nil {
		d.reason, d.err = denied.reason, denied.err
		response.Error = denied.reason
	} else {
		token, err := user.Encode(s.issuer)
		if err != nil {
			d.reason, d.err = "internal", err
			return d
		}
		response.Jwt = token
	}
	token, err := response.Encode(s.issuer)
	if err == nil {
		d.reply, err = s.seal([]byte(token), serverXkey)
	}
	if err != nil {
		d.reason, d.err = "internal", err
	}
	return d
}

// open decrypts, decodes and verifies a request and returns it with the curve
// key of the server that sealed it, if any.
func (s *service) open(msg *nats.Msg, now time.Time) (*jwt.AuthorizationRequestClaims, string, *denial) {
	if !strings.HasPrefix(msg.Reply, replyPrefix) {
		return nil, "", deny("reply-subject-foreign", "reply to %q", msg.Reply)
	}
	payload, serverXkey := msg.Data, msg.Header.Get(xkeyHeader)
	if serverXkey != "" {
		if s.box == nil {
			return nil, "", deny("request-malformed", "request is encrypted but no xkey is configured")
		}
		var err error
		if payload, err = s.box.open(payload, serverXkey); err != nil {
			return nil, "", deny("request-malformed", "open: %w", err)
		}
	} else if s.box != nil {
		return nil, "", deny("request-malformed", "request is not encrypted")
	}

	// Verifies the signature against the issuer that the token names.
	request, err := jwt.DecodeAuthorizationRequestClaims(string(payload))
	if err != nil {
		return nil, "", deny("request-forged", "decode: %w", err)
	}
	switch {
	case request.Issuer != request.Server.ID:
		return nil, "", deny("request-forged", "signed by %s for server %s", request.Issuer, request.Server.ID)
	case request.Server.XKey != serverXkey:
		return nil, "", deny("request-forged", "sealed by another key than the signed one")
	case request.Audience != requestAudience:
		return nil, "", deny("request-malformed", "audience %q", request.Audience)
	case request.Subject != s.issuerKey:
		return nil, "", deny("request-misdirected", "for issuer %q", request.Subject)
	case request.Version != 2:
		return nil, "", deny("request-malformed", "version %d", request.Version)
	case now.Add(-clockLeeway).Unix() > request.Expires:
		return nil, "", deny("request-expired", "expired at %d", request.Expires)
	case request.IssuedAt > now.Add(clockLeeway).Unix():
		return nil, "", deny("clock-skew", "issued at %d", request.IssuedAt)
	}
	return request, serverXkey, nil
}

func (s *service) seal(reply []byte, serverXkey string) ([]byte, error) {
	if serverXkey == "" {
		return reply, nil
	}
	return s.box.seal(reply, serverXkey)
}

// admit checks certificate, device and policy and returns the claims of the
// user. It fills in what d can tell about the device on the way.
func (s *service) admit(request *jwt.AuthorizationRequestClaims, now time.Time, d *decision) (*jwt.UserClaims, *denial) {
	if request.TLS == nil || len(request.TLS.VerifiedChains) == 0 {
		return nil, deny("certificate-missing", "no verified chain")
	}
	chain, err := s.chains.parse(request.TLS.VerifiedChains[0])
	if err != nil {
		return nil, deny("certificate-malformed", "%w", err)
	}
	d.serial = chain.serial
	id, denied := s.domain.identify(chain)
	if denied != nil {
		return nil, denied
	}
	d.device = id

	device, ok := s.devices[id]
	switch {
	case !ok:
		return nil, deny("device-unknown", "no device %q", id)
	case device.State != "active":
		return nil, deny("device-"+device.State, "device is %s", device.State)
	case device.Fingerprint != chain.fingerprint:
		return nil, deny("certificate-unknown", "certificate %s was not issued to the device", chain.fingerprint)
	case now.Add(clockLeeway).Before(chain.notBefore) || !now.Before(chain.notAfter):
		return nil, deny("certificate-expired", "valid from %s to %s", chain.notBefore, chain.notAfter)
	}
	if client := request.ClientInformation; client.Kind != "Client" || client.Type != "nats" {
		return nil, deny("connection-type-not-allowed", "%s over %s", client.Kind, client.Type)
	}
	return grant(request.UserNkey, id, chain.notAfter, now), nil
}
