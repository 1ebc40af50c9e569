package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// A date far away: the library refuses nothing before it.
const expires = 4102444800

// RequestVector is a request as a server sends it. Its claims are in the token.
type RequestVector struct {
	Name       string `json:"name"`
	ServerSeed string `json:"server_seed"`
	Token      string `json:"token"`
}

// UserVector is a user and what it was made of.
type UserVector struct {
	Name       string   `json:"name"`
	IssuerSeed string   `json:"issuer_seed"`
	Spec       UserSpec `json:"spec"`
	Token      string   `json:"token"`
}

// UserSpec is a user in neither library's terms.
type UserSpec struct {
	Subject         string    `json:"subject"`
	Name            string    `json:"name"`
	Audience        string    `json:"audience"`
	Expires         int64     `json:"expires"`
	PubAllow        []string  `json:"pub_allow"`
	PubDeny         []string  `json:"pub_deny"`
	SubAllow        []string  `json:"sub_allow"`
	SubDeny         []string  `json:"sub_deny"`
	Resp            *RespSpec `json:"resp"`
	ConnectionTypes []string  `json:"connection_types"`
	Networks        []string  `json:"networks"`
	Subs            *int64    `json:"subs"`
	Data            *int64    `json:"data"`
	Payload         *int64    `json:"payload"`
	IssuerAccount   string    `json:"issuer_account"`
}

// RespSpec is a response permission.
type RespSpec struct {
	Max   int   `json:"max"`
	Nanos int64 `json:"nanos"`
}

// ResponseVector is a response and what it was made of.
type ResponseVector struct {
	Name       string       `json:"name"`
	IssuerSeed string       `json:"issuer_seed"`
	Spec       ResponseSpec `json:"spec"`
	Token      string       `json:"token"`
}

// ResponseSpec is a response in neither library's terms.
type ResponseSpec struct {
	Subject       string `json:"subject"`
	Audience      string `json:"audience"`
	JWT           string `json:"jwt"`
	Error         string `json:"error"`
	IssuerAccount string `json:"issuer_account"`
}

// BoxVector is a box and both its keys.
type BoxVector struct {
	Name          string `json:"name"`
	SenderSeed    string `json:"sender_seed"`
	RecipientSeed string `json:"recipient_seed"`
	Plain         string `json:"plain"`
	Sealed        string `json:"sealed_base64"`
}

func key(prefix nkeys.PrefixByte, name string) nkeys.KeyPair {
	raw := sha256.Sum256([]byte(name))
	seed, err := nkeys.EncodeSeed(prefix, raw[:])
	if err != nil {
		panic(err)
	}
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		panic(err)
	}
	return pair
}

func seedOf(pair nkeys.KeyPair) string {
	seed, err := pair.Seed()
	if err != nil {
		panic(err)
	}
	return string(seed)
}

func publicOf(pair nkeys.KeyPair) string {
	public, err := pair.PublicKey()
	if err != nil {
		panic(err)
	}
	return public
}

var (
	account = key(nkeys.PrefixByteAccount, "account")
	server  = key(nkeys.PrefixByteServer, "server")
	client  = key(nkeys.PrefixByteUser, "client")
	curve   = key(nkeys.PrefixByteCurve, "server xkey")
	service = key(nkeys.PrefixByteCurve, "service xkey")
)

// The texts of certificates: their form matters here, not what they certify.
func pem(name string, lines int) string {
	var text strings.Builder
	text.WriteString("-----BEGIN CERTIFICATE-----\n")
	for line := range lines {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, line))
		text.WriteString(base64.StdEncoding.EncodeToString(append(sum[:], sum[:16]...)))
		text.WriteString("\n")
	}
	text.WriteString("-----END CERTIFICATE-----\n")
	return text.String()
}

func makeRequests() ([]RequestVector, error) {
	plain := func() *jwt.AuthorizationRequestClaims {
		claims := jwt.NewAuthorizationRequestClaims(publicOf(account))
		claims.Audience = "nats-authorization-request"
		claims.Expires = expires
		claims.UserNkey = publicOf(client)
		claims.Server = jwt.ServerID{
			Name: "leaf-1", Host: "0.0.0.0", ID: publicOf(server), Version: "2.15.1", Cluster: "leaf",
		}
		claims.ClientInformation = jwt.ClientInformation{
			Host: "10.1.2.3", ID: 42, Name: "pump-7", Kind: "Client", Type: "nats",
		}
		claims.ConnectOptions = jwt.ConnectOptions{
			Name: "pump-7", Lang: "rust", Version: "0.51.0", Protocol: 1,
		}
		return claims
	}
	tls := func(claims *jwt.AuthorizationRequestClaims) {
		claims.TLS = &jwt.ClientTLS{
			Version: "1.3",
			Cipher:  "TLS_AES_128_GCM_SHA256",
			VerifiedChains: []jwt.StringList{
				{pem("device", 14), pem("devices intermediate", 16)},
			},
		}
	}
	cases := []struct {
		name   string
		change func(*jwt.AuthorizationRequestClaims)
	}{
		{"plain", func(*jwt.AuthorizationRequestClaims) {}},
		{"mtls", tls},
		{"mtls by two chains, tags and xkey", func(claims *jwt.AuthorizationRequestClaims) {
			tls(claims)
			claims.TLS.VerifiedChains = append(claims.TLS.VerifiedChains,
				jwt.StringList{pem("device", 14), pem("other intermediate", 16), pem("root", 12)})
			claims.Server.Tags = jwt.TagList{"site:demo", "rack:4"}
			claims.Server.XKey = publicOf(curve)
		}},
		{"unverified certificates", func(claims *jwt.AuthorizationRequestClaims) {
			claims.TLS = &jwt.ClientTLS{Version: "1.2", Certs: jwt.StringList{pem("device", 14)}}
		}},
		{"mqtt", func(claims *jwt.AuthorizationRequestClaims) {
			tls(claims)
			claims.ClientInformation.Type = "mqtt"
			claims.ClientInformation.MQTT = "pump-7_1"
			claims.ConnectOptions = jwt.ConnectOptions{}
		}},
		{"websocket", func(claims *jwt.AuthorizationRequestClaims) {
			claims.ClientInformation.Type = "websocket"
		}},
		{"leafnode without cluster", func(claims *jwt.AuthorizationRequestClaims) {
			claims.Server.Cluster = ""
			claims.ClientInformation.Kind = "Leafnode"
			claims.ClientInformation.Type = ""
		}},
		{"credentials", func(claims *jwt.AuthorizationRequestClaims) {
			claims.ClientInformation.User = "someone"
			claims.ClientInformation.Nonce = "nonce"
			claims.ClientInformation.Tags = jwt.TagList{"tag"}
			claims.ClientInformation.NameTag = "name-tag"
			claims.RequestNonce = "request-nonce"
			claims.ConnectOptions.JWT = "s3cret-jwt"
			claims.ConnectOptions.Nkey = "s3cret-nkey"
			claims.ConnectOptions.SignedNonce = "s3cret-sig"
			claims.ConnectOptions.Token = "s3cret-token"
			claims.ConnectOptions.Username = "someone"
			claims.ConnectOptions.Password = "s3cret-pass"
		}},
		{"characters that JSON escapes", func(claims *jwt.AuthorizationRequestClaims) {
			claims.Server.Name = "<leaf> & \"co\" \\ \u2028 \x01 \u00e4\U0001f600"
			claims.ConnectOptions.Name = "tab\tnewline\nnull\x00"
		}},
	}
	var vectors []RequestVector
	for _, test := range cases {
		claims := plain()
		test.change(claims)
		token, err := claims.Encode(server)
		if err != nil {
			return nil, fmt.Errorf("request %q: %w", test.name, err)
		}
		vectors = append(vectors, RequestVector{test.name, seedOf(server), token})
	}
	return vectors, nil
}

func (spec *UserSpec) claims() *jwt.UserClaims {
	claims := jwt.NewUserClaims(spec.Subject)
	claims.Name = spec.Name
	claims.Audience = spec.Audience
	claims.Expires = spec.Expires
	claims.Pub.Allow = spec.PubAllow
	claims.Pub.Deny = spec.PubDeny
	claims.Sub.Allow = spec.SubAllow
	claims.Sub.Deny = spec.SubDeny
	if spec.Resp != nil {
		claims.Resp = &jwt.ResponsePermission{
			MaxMsgs: spec.Resp.Max, Expires: time.Duration(spec.Resp.Nanos),
		}
	}
	claims.AllowedConnectionTypes = spec.ConnectionTypes
	claims.Src = spec.Networks
	for _, limit := range []struct {
		spec *int64
		into *int64
	}{
		{spec.Subs, &claims.NatsLimits.Subs},
		{spec.Data, &claims.NatsLimits.Data},
		{spec.Payload, &claims.NatsLimits.Payload},
	} {
		if limit.spec != nil {
			*limit.into = *limit.spec
		}
	}
	claims.IssuerAccount = spec.IssuerAccount
	return claims
}

func makeUsers() ([]UserVector, error) {
	number := func(n int64) *int64 { return &n }
	subject := publicOf(client)
	specs := []struct {
		name string
		spec UserSpec
	}{
		{"bare", UserSpec{Subject: subject}},
		{"device", UserSpec{
			Subject: subject, Name: "pump-7", Audience: "DEVICES", Expires: expires,
			PubAllow: []string{"device.pump-7.metrics.>", "device.pump-7.status"},
			SubAllow: []string{"device.pump-7.cmd", "device.pump-7.cmd.>", "_INBOX.pump-7.>"},
			Resp:     &RespSpec{1, int64(5 * time.Second)},
		}},
		{"everything", UserSpec{
			Subject: subject, Name: "pump-7", Audience: "DEVICES", Expires: expires,
			PubAllow: []string{"a.>"}, PubDeny: []string{"a.b.>", "a.*.c"},
			SubAllow: []string{"b.> queue"}, SubDeny: []string{">"},
			Resp:            &RespSpec{-1, 0},
			ConnectionTypes: []string{"STANDARD", "MQTT", "WEBSOCKET"},
			Networks:        []string{"10.0.0.0/8", "2001:db8::/32"},
			Subs:            number(10), Data: number(1 << 40), Payload: number(65536),
		}},
		{"limits of zero", UserSpec{
			Subject: subject, Name: "pump-7", Subs: number(0), Data: number(0), Payload: number(0),
		}},
		{"by a signing key", UserSpec{
			Subject: subject, Name: "pump-7",
			IssuerAccount: publicOf(key(nkeys.PrefixByteAccount, "other account")),
		}},
		{"characters that JSON escapes", UserSpec{
			Subject: subject, Name: "quote \" backslash \\ newline \n unit \x1f \u00e4\U0001f600",
			Audience: "\u65e5\u672c",
		}},
	}
	var vectors []UserVector
	for _, test := range specs {
		token, err := test.spec.claims().Encode(account)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", test.name, err)
		}
		vectors = append(vectors, UserVector{test.name, seedOf(account), test.spec, token})
	}
	return vectors, nil
}

func (spec *ResponseSpec) claims() *jwt.AuthorizationResponseClaims {
	claims := jwt.NewAuthorizationResponseClaims(spec.Subject)
	claims.Audience = spec.Audience
	claims.Jwt = spec.JWT
	claims.Error = spec.Error
	claims.IssuerAccount = spec.IssuerAccount
	return claims
}

func makeResponses() ([]ResponseVector, error) {
	subject, audience := publicOf(client), publicOf(server)
	specs := []struct {
		name string
		spec ResponseSpec
	}{
		{"granted", ResponseSpec{Subject: subject, Audience: audience, JWT: "eyJ.user.jwt"}},
		{"refused", ResponseSpec{Subject: subject, Audience: audience, Error: "device-revoked"}},
		{"refused, with characters that JSON escapes", ResponseSpec{
			Subject: subject, Audience: audience, Error: "no <device> & no \"id\"\n\u2028\x00",
		}},
		{"by a signing key", ResponseSpec{
			Subject: subject, Audience: audience, JWT: "eyJ.user.jwt",
			IssuerAccount: publicOf(key(nkeys.PrefixByteAccount, "other account")),
		}},
	}
	var vectors []ResponseVector
	for _, test := range specs {
		token, err := test.spec.claims().Encode(account)
		if err != nil {
			return nil, fmt.Errorf("response %q: %w", test.name, err)
		}
		vectors = append(vectors, ResponseVector{test.name, seedOf(account), test.spec, token})
	}
	return vectors, nil
}

func makeBoxes() ([]BoxVector, error) {
	cases := []struct {
		name              string
		sender, recipient nkeys.KeyPair
		plain             string
	}{
		{"request", curve, service, "eyJ" + strings.Repeat("request", 700)},
		{"answer", service, curve, "eyJ.answer"},
		{"one byte", service, curve, "."},
		{"a whole block", service, curve, strings.Repeat("b", 64)},
	}
	var vectors []BoxVector
	for _, test := range cases {
		nonce := sha256.Sum256([]byte(test.name))
		sealed, err := test.sender.SealWithRand(
			[]byte(test.plain), publicOf(test.recipient), bytes.NewReader(nonce[:24]))
		if err != nil {
			return nil, fmt.Errorf("box %q: %w", test.name, err)
		}
		vectors = append(vectors, BoxVector{
			test.name, seedOf(test.sender), seedOf(test.recipient), test.plain,
			base64.StdEncoding.EncodeToString(sealed),
		})
	}
	return vectors, nil
}

// The claims of a token as JSON.
func claimsOf(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%d parts in a token", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return claims, decoder.Decode(&claims)
}
