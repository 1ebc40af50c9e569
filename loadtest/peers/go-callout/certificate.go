package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// chainFacts is what a verified chain says about its device, free of any
// verdict about time or trust.
type chainFacts struct {
	commonName  string
	serial      string
	fingerprint string // SHA-256 of the certificate, hex
	issuerSPKI  string // SHA-256 of the issuer's SubjectPublicKeyInfo, hex
	notBefore   time.Time
	notAfter    time.Time
}

func parseChain(chain []string) (*chainFacts, error) {
	if len(chain) < 2 {
		return nil, errors.New("verified chain is shorter than two certificates")
	}
	leaf, err := parseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("device certificate: %w", err)
	}
	issuer, err := parseCertificate(chain[1])
	if err != nil {
		return nil, fmt.Errorf("issuer certificate: %w", err)
	}
	if leaf.IsCA {
		return nil, errors.New("device certificate is a CA certificate")
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil, errors.New("device certificate is not for client authentication")
	}
	name, err := commonName(leaf)
	if err != nil {
		return nil, err
	}
	for _, san := range leaf.DNSNames {
		if san != name {
			return nil, fmt.Errorf("DNS name %q disagrees with common name %q", san, name)
		}
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	spki := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	return &chainFacts{
		commonName:  name,
		serial:      hex.EncodeToString(leaf.SerialNumber.Bytes()),
		fingerprint: hex.EncodeToString(fingerprint[:]),
		issuerSPKI:  hex.EncodeToString(spki[:]),
		notBefore:   leaf.NotBefore,
		notAfter:    leaf.NotAfter,
	}, nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no CERTIFICATE block")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("more than one PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

// commonName insists on exactly one, as x509 itself would silently take the
// last.
func commonName(certificate *x509.Certificate) (string, error) {
	var names []string
	for _, attribute := range certificate.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			name, ok := attribute.Value.(string)
			if !ok {
				return "", errors.New("common name is not a string")
			}
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("%d common names", len(names))
	}
	return names[0], nil
}

// trustDomain names who may issue device certificates and how they are called.
type trustDomain struct {
	issuerSPKI string
	cnPattern  string
}

type compiledDomain struct {
	issuerSPKI, prefix, suffix string
}

func (t trustDomain) compile() (*compiledDomain, error) {
	if len(t.issuerSPKI) != 2*sha256.Size {
		return nil, errors.New("-issuer-spki must be 64 hex digits")
	}
	prefix, suffix, ok := strings.Cut(t.cnPattern, "{id}")
	if !ok {
		return nil, errors.New("-cn-pattern has no {id}")
	}
	return &compiledDomain{strings.ToLower(t.issuerSPKI), prefix, suffix}, nil
}

// identify returns the device id that the chain proves.
func (t *compiledDomain) identify(chain *chainFacts) (string, *denial) {
	if chain.issuerSPKI != t.issuerSPKI {
		return "", deny("issuer-unknown", "issuer key %s", chain.issuerSPKI)
	}
	id, ok := strings.CutPrefix(chain.commonName, t.prefix)
	if ok {
		id, ok = strings.CutSuffix(id, t.suffix)
	}
	if !ok || !isToken(id) {
		return "", deny("name-malformed", "common name %q", chain.commonName)
	}
	return id, nil
}

// isToken reports whether id is one NATS subject token of A-Z a-z 0-9 _ - that
// begins and ends with a letter or digit.
func isToken(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		inner := 0 < i && i < len(id)-1
		if !alphanumeric && !(inner && (c == '_' || c == '-')) {
			return false
		}
	}
	return true
}

// chainCache keeps parsed chains by the hash of their PEM text, in two
// generations: when the young one is full, the old one is forgotten.
type chainCache struct {
	mu         sync.RWMutex
	generation int // entries of one generation; 0 caches nothing
	young, old map[[sha256.Size]byte]*chainFacts
}

func newChainCache(entries int) *chainCache {
	return &chainCache{
		generation: (entries + 1) / 2,
		young:      make(map[[sha256.Size]byte]*chainFacts),
	}
}

func (c *chainCache) parse(chain []string) (*chainFacts, error) {
	if c.generation == 0 || len(chain) < 2 {
		return parseChain(chain)
	}
	hash := sha256.New()
	hash.Write([]byte(chain[0]))
	hash.Write([]byte{0})
	hash.Write([]byte(chain[1]))
	key := [sha256.Size]byte(hash.Sum(nil))

	c.mu.RLock()
	facts, young := c.young[key]
	if !young {
		facts = c.old[key]
	}
	c.mu.RUnlock()
	if young {
		return facts, nil
	}
	if facts == nil {
		var err error
		if facts, err = parseChain(chain); err != nil {
			return nil, err
		}
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.generation {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]*chainFacts, c.generation)
	}
	c.young[key] = facts
	return facts, nil
}
