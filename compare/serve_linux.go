//go:build cgo && (amd64 || arm64)

package compare

import (
	"encoding/json"
	"errors"
	"io"
)

// serve is the life of a measuring process. It ends when its input ends.
func serve(in io.Reader, out io.Writer) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	var need setup
	if err := requests.Decode(&need); err != nil {
		return err
	}
	p, err := prepare(need)
	if err := answers.Encode(failure(err)); err != nil {
		return err
	}
	if err != nil {
		return nil // it has been said
	}
	defer p.close()
	for {
		var ask request
		if err := requests.Decode(&ask); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(p.answer(ask)); err != nil {
			return err
		}
	}
}

func (p *process) answer(ask request) answer {
	if ask.Turn == nil {
		sides, err := p.describe(ask.Describe)
		a := failure(err)
		a.Sides = sides
		return a
	}
	measured, err := p.turn(*ask.Turn)
	a := failure(err)
	a.Measured = measured
	return a
}

func failure(err error) answer {
	if err == nil {
		return answer{}
	}
	var lack *lackError
	return answer{Error: err.Error(), Lack: errors.As(err, &lack)}
}
