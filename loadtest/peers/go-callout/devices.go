package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// device is a line of the devices file.
type device struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Fingerprint string `json:"fingerprint"` // of the one certificate issued to it; empty for none
}

func loadDevices(path string) (map[string]device, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	devices := make(map[string]device)
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var d device
		if err := decoder.Decode(&d); errors.Is(err, io.EOF) {
			return devices, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		devices[d.ID] = d
	}
}
