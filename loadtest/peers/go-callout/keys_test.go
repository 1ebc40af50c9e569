package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nkeys"
)

func seedFile(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(path, append(seed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExpandedKeySignsAsNkeysDoes(t *testing.T) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := loadIssuer(seedFile(t, account), true)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := account.Sign([]byte("claims"))
	got, err := issuer.Sign([]byte("claims"))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%x is not %x, %v", got, want, err)
	}
	wantKey, _ := account.PublicKey()
	if gotKey, err := issuer.PublicKey(); err != nil || gotKey != wantKey {
		t.Fatalf("%q is not %q, %v", gotKey, wantKey, err)
	}
}

func TestIssuerMustBeAnAccount(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadIssuer(seedFile(t, user), true); err == nil {
		t.Fatal("a user key was taken")
	}
}

func TestSealedBoxSpeaksWithNkeys(t *testing.T) {
	service, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	server, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	servicePublic, _ := service.PublicKey()
	serverPublic, _ := server.PublicKey()
	for _, expand := range []bool{true, false} {
		box, err := loadSealedBox(seedFile(t, service), expand)
		if err != nil {
			t.Fatal(err)
		}
		request, _ := server.Seal([]byte("request"), servicePublic)
		if opened, err := box.open(request, serverPublic); err != nil || string(opened) != "request" {
			t.Fatalf("expand %v: %q, %v", expand, opened, err)
		}
		reply, err := box.seal([]byte("reply"), serverPublic)
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := server.Open(reply, servicePublic); err != nil || string(opened) != "reply" {
			t.Fatalf("expand %v: %q, %v", expand, opened, err)
		}
		request[len(request)-1] ^= 1
		if _, err := box.open(request, serverPublic); err == nil {
			t.Fatalf("expand %v: a changed box was opened", expand)
		}
		for _, garbage := range [][]byte{nil, []byte("xkv1"), request[:20]} {
			if _, err := box.open(garbage, serverPublic); err == nil {
				t.Fatalf("expand %v: %q was opened", expand, garbage)
			}
		}
	}
}
