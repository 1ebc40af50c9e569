package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/nacl/box"
)

// loadIssuer reads the account key that signs answers.
func loadIssuer(seedFile string, expand bool) (nkeys.KeyPair, error) {
	seed, err := readSeed(seedFile)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	if !nkeys.IsValidPublicAccountKey(public) {
		return nil, errors.New("not an account key")
	}
	if !expand {
		return pair, nil
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, err
	}
	return &expandedKey{pair, public, ed25519.NewKeyFromSeed(raw)}, nil
}

// expandedKey spares the two scalar multiplications that nkeys makes for each
// signature to derive the key from its seed again.
type expandedKey struct {
	nkeys.KeyPair
	public  string
	private ed25519.PrivateKey
}

func (k *expandedKey) PublicKey() (string, error) { return k.public, nil }

func (k *expandedKey) Sign(input []byte) ([]byte, error) {
	return ed25519.Sign(k.private, input), nil
}

// sealedBox opens requests and seals answers.
type sealedBox struct {
	pair    nkeys.KeyPair
	expand  bool
	private [32]byte
	shared  sync.Map // server xkey → *[32]byte
}

func loadSealedBox(seedFile string, expand bool) (*sealedBox, error) {
	seed, err := readSeed(seedFile)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromCurveSeed(seed)
	if err != nil {
		return nil, err
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, err
	}
	return &sealedBox{pair: pair, expand: expand, private: [32]byte(raw)}, nil
}

const nonceLength = 24

var boxVersion = []byte(nkeys.XKeyVersionV1)

func (b *sealedBox) open(sealed []byte, sender string) ([]byte, error) {
	if !b.expand {
		return b.pair.Open(sealed, sender)
	}
	shared, err := b.sharedSecret(sender)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutPrefix(sealed, boxVersion)
	if !ok || len(body) < nonceLength {
		return nil, nkeys.ErrInvalidEncrypted
	}
	nonce := [nonceLength]byte(body)
	opened, ok := box.OpenAfterPrecomputation(nil, body[nonceLength:], &nonce, shared)
	if !ok {
		return nil, nkeys.ErrCouldNotDecrypt
	}
	return opened, nil
}

func (b *sealedBox) seal(plain []byte, recipient string) ([]byte, error) {
	if !b.expand {
		return b.pair.Seal(plain, recipient)
	}
	shared, err := b.sharedSecret(recipient)
	if err != nil {
		return nil, err
	}
	var nonce [nonceLength]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(boxVersion)+nonceLength+box.Overhead+len(plain))
	out = append(append(out, boxVersion...), nonce[:]...)
	return box.SealAfterPrecomputation(out, plain, &nonce, shared), nil
}

// sharedSecret keeps one secret per curve key. Keys of unverified senders end
// here too, which a service open to the world would have to bound.
func (b *sealedBox) sharedSecret(peer string) (*[32]byte, error) {
	if shared, ok := b.shared.Load(peer); ok {
		return shared.(*[32]byte), nil
	}
	raw, err := nkeys.Decode(nkeys.PrefixByteCurve, []byte(peer))
	if err != nil {
		return nil, err
	}
	if len(raw) != 32 {
		return nil, nkeys.ErrInvalidCurveKey
	}
	var shared [32]byte
	box.Precompute(&shared, (*[32]byte)(raw), &b.private)
	b.shared.Store(peer, &shared)
	return &shared, nil
}

func readSeed(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("seed file: %w", err)
	}
	return bytes.TrimSpace(text), nil
}
