package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

type issued struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func issue(t *testing.T, template *x509.Certificate, by *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(0x3fa1)
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &issued{certificate, key, string(text)}
}

func authority(t *testing.T) *issued {
	return issue(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devices"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
}

func deviceTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

const deviceName = "device-0001.device.synadia.local"

func TestChainFacts(t *testing.T) {
	ca := authority(t)
	device := issue(t, deviceTemplate(deviceName), ca)
	facts, err := parseChain([]string{device.pem, ca.pem})
	if err != nil {
		t.Fatal(err)
	}
	spki := sha256.Sum256(ca.certificate.RawSubjectPublicKeyInfo)
	fingerprint := sha256.Sum256(device.certificate.Raw)
	if facts.commonName != deviceName || facts.serial != "3fa1" ||
		facts.issuerSPKI != hex.EncodeToString(spki[:]) ||
		facts.fingerprint != hex.EncodeToString(fingerprint[:]) {
		t.Fatalf("%+v", facts)
	}
	domain, err := trustDomain{facts.issuerSPKI, "device-{id}.device.synadia.local"}.compile()
	if err != nil {
		t.Fatal(err)
	}
	if id, denied := domain.identify(facts); denied != nil || id != "0001" {
		t.Fatalf("%q, %v", id, denied)
	}
	facts.issuerSPKI = strings.Repeat("00", sha256.Size)
	if _, denied := domain.identify(facts); denied == nil || denied.reason != "issuer-unknown" {
		t.Fatal(denied)
	}
}

func TestChainRefused(t *testing.T) {
	ca := authority(t)
	with := func(change func(*x509.Certificate)) string {
		template := deviceTemplate(deviceName)
		change(template)
		return issue(t, template, ca).pem
	}
	good := with(func(*x509.Certificate) {})
	for name, chain := range map[string][]string{
		"one certificate": {good},
		"no PEM":          {"certificate", ca.pem},
		"two blocks":      {good + good, ca.pem},
		"server only": {with(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), ca.pem},
		"a CA": {with(func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
		}), ca.pem},
		"another DNS name": {with(func(c *x509.Certificate) {
			c.DNSNames = []string{"device-0002.device.synadia.local"}
		}), ca.pem},
		"two common names": {with(func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
				{Type: oidCommonName, Value: deviceName},
				{Type: oidCommonName, Value: "device-0002.device.synadia.local"},
			}
		}), ca.pem},
	} {
		if facts, err := parseChain(chain); err == nil {
			t.Errorf("%s: %+v", name, facts)
		}
	}
}

func TestTokens(t *testing.T) {
	for id, want := range map[string]bool{
		"0001": true, "pump-7_a": true, "A": true, strings.Repeat("a", 64): true,
		"": false, "a.b": false, "*": false, ">": false, "a b": false, "-a": false, "a_": false,
		"ä": false, strings.Repeat("a", 65): false,
	} {
		if isToken(id) != want {
			t.Errorf("isToken(%q) = %v", id, !want)
		}
	}
}

func TestChainCacheKeepsWhatIsUsed(t *testing.T) {
	ca := authority(t)
	chain := func(name string) []string {
		return []string{issue(t, deviceTemplate(name), ca).pem, ca.pem}
	}
	cache := newChainCache(4)
	used := chain(deviceName)
	first, err := cache.parse(used)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := cache.parse(chain(deviceName)); err != nil {
			t.Fatal(err)
		}
		again, err := cache.parse(used)
		if err != nil {
			t.Fatal(err)
		}
		if again != first {
			t.Fatal("a chain in use was parsed anew")
		}
		if len(cache.young)+len(cache.old) > 4 {
			t.Fatalf("%d entries", len(cache.young)+len(cache.old))
		}
	}
}
