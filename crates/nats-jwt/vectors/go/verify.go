package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Encoded is what the crate encoded.
type Encoded struct {
	Requests  []RequestVector  `json:"requests"`
	Users     []UserVector     `json:"users"`
	Responses []ResponseVector `json:"responses"`
	Boxes     []BoxVector      `json:"boxes"`
}

func verifyAll(in io.Reader, out io.Writer) error {
	var encoded Encoded
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&encoded); err != nil {
		return err
	}
	for _, vector := range encoded.Requests {
		if err := verifyRequest(vector); err != nil {
			return fmt.Errorf("request %q: %w", vector.Name, err)
		}
	}
	for _, vector := range encoded.Users {
		if err := verifyUser(vector); err != nil {
			return fmt.Errorf("user %q: %w", vector.Name, err)
		}
	}
	for _, vector := range encoded.Responses {
		if err := verifyResponse(vector); err != nil {
			return fmt.Errorf("response %q: %w", vector.Name, err)
		}
	}
	for _, vector := range encoded.Boxes {
		if err := verifyBox(vector); err != nil {
			return fmt.Errorf("box %q: %w", vector.Name, err)
		}
	}
	_, err := fmt.Fprintf(out, "verified %d requests, %d users, %d responses, %d boxes\n",
		len(encoded.Requests), len(encoded.Users), len(encoded.Responses), len(encoded.Boxes))
	return err
}

// The request decodes, and the library would have encoded what it decoded to just so.
func verifyRequest(vector RequestVector) error {
	claims, err := jwt.DecodeAuthorizationRequestClaims(vector.Token)
	if err != nil {
		return err
	}
	return sameAsEncodedHere(vector.Token, claims, vector.ServerSeed)
}

// The user decodes, and the library encodes the same user just so.
func verifyUser(vector UserVector) error {
	if _, err := jwt.DecodeUserClaims(vector.Token); err != nil {
		return err
	}
	return sameAsEncodedHere(vector.Token, vector.Spec.claims(), vector.IssuerSeed)
}

// The response decodes, and the library encodes the same response just so. A user JWT in it
// decodes too.
func verifyResponse(vector ResponseVector) error {
	claims, err := jwt.DecodeAuthorizationResponseClaims(vector.Token)
	if err != nil {
		return err
	}
	if strings.HasPrefix(claims.Jwt, "eyJ0") {
		user, err := jwt.DecodeUserClaims(claims.Jwt)
		if err != nil {
			return fmt.Errorf("user JWT: %w", err)
		}
		if user.Subject != claims.Subject {
			return fmt.Errorf("a user JWT for %s in a response for %s", user.Subject, claims.Subject)
		}
	}
	return sameAsEncodedHere(vector.Token, vector.Spec.claims(), vector.IssuerSeed)
}

func sameAsEncodedHere(token string, claims jwt.Claims, seed string) error {
	results := jwt.CreateValidationResults()
	claims.Validate(results)
	if len(results.Issues) > 0 {
		return fmt.Errorf("validation: %v", results.Issues[0])
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return err
	}
	here, err := claims.Encode(pair)
	if err != nil {
		return err
	}
	if header, _, _ := strings.Cut(here, "."); !strings.HasPrefix(token, header+".") {
		return fmt.Errorf("another header than %s", header)
	}
	theirs, err := claimsOf(token)
	if err != nil {
		return err
	}
	ours, err := claimsOf(here)
	if err != nil {
		return err
	}
	for _, claim := range []string{"jti", "iat"} {
		if _, found := theirs[claim]; !found {
			return fmt.Errorf("no %s", claim)
		}
		delete(theirs, claim)
		delete(ours, claim)
	}
	if !reflect.DeepEqual(theirs, ours) {
		return fmt.Errorf("claims differ:\n  %v\n  %v", theirs, ours)
	}
	return nil
}

func verifyBox(vector BoxVector) error {
	recipient, err := nkeys.FromCurveSeed([]byte(vector.RecipientSeed))
	if err != nil {
		return err
	}
	sender, err := nkeys.FromCurveSeed([]byte(vector.SenderSeed))
	if err != nil {
		return err
	}
	sealed, err := base64.StdEncoding.DecodeString(vector.Sealed)
	if err != nil {
		return err
	}
	plain, err := recipient.Open(sealed, publicOf(sender))
	if err != nil {
		return err
	}
	if string(plain) != vector.Plain {
		return fmt.Errorf("another content: %q", plain)
	}
	return nil
}
