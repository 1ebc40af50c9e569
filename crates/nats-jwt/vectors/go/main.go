// Command nats-jwt-vectors holds the leafgate-nats-jwt crate against nats-io/jwt, in both
// directions:
//
//	go run . make DIR   writes what the Go library encodes, for the crate to read
//	go run . verify     reads on stdin what the crate encoded, and checks it
//
// All keys are made of fixed seeds, so only times, ids and signatures differ between two runs.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "make":
		err = makeAll(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "verify":
		err = verifyAll(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("usage: %s make DIR | verify", filepath.Base(os.Args[0]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func makeAll(dir string) error {
	requests, err := makeRequests()
	if err != nil {
		return err
	}
	users, err := makeUsers()
	if err != nil {
		return err
	}
	responses, err := makeResponses()
	if err != nil {
		return err
	}
	boxes, err := makeBoxes()
	if err != nil {
		return err
	}
	for name, vectors := range map[string]any{
		"requests.json":  requests,
		"users.json":     users,
		"responses.json": responses,
		"boxes.json":     boxes,
	} {
		text, err := json.MarshalIndent(vectors, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
