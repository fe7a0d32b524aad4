package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

const (
	sqlControls = `SELECT kind, name, spec, reason, set_by, set_ms, until_ms FROM controls
		WHERE NOT dropped AND (until_ms IS NULL OR until_ms > $1)`
	sqlSetControl = `INSERT INTO controls (kind, name, spec, reason, set_by, set_ms, until_ms, dropped, edits)
		VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, 1)
		ON CONFLICT (kind, name) DO UPDATE SET spec = $3, reason = $4, set_by = $5, set_ms = $6, dropped = FALSE,
			until_ms = CASE WHEN $1 = 'quiet' AND NOT controls.dropped AND (controls.until_ms IS NULL OR controls.until_ms > $7) THEN controls.until_ms ELSE $7 END,
			edits = controls.edits + 1
		RETURNING edits`
	sqlDropControl = `UPDATE controls SET dropped = TRUE, edits = edits + 1
		WHERE kind = $1 AND name = $2 AND NOT dropped AND (until_ms IS NULL OR until_ms > $3) RETURNING edits, spec, until_ms`
	sqlLogControl = `INSERT INTO control_log (kind, name, edit, at_ms, dropped, spec, reason, edited_by, until_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	sqlControlLog = `SELECT kind, name, at_ms, dropped, spec, reason, edited_by, until_ms FROM control_log
		ORDER BY at_ms DESC, kind, name, edit DESC LIMIT $1`
)

// Controls is documented in orders.Controller.
func (s *Store) Controls(ctx context.Context, now time.Time) ([]orders.Control, error) {
	return read(ctx, s, func(u unit) (list []orders.Control, err error) {
		err = u.each(sqlControls, []any{now.UnixMilli()}, func(row scan) error {
			var c orders.Control
			err := row(&c.Kind, &c.Name, &c.Spec, &c.Reason, &c.By, moment{&c.SetAt}, moment{&c.Until})
			list = append(list, c)
			return err
		})
		slices.SortFunc(list, func(a, b orders.Control) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
		return list, err
	})
}

// SetControl is documented in orders.Controller.
func (s *Store) SetControl(ctx context.Context, c orders.Control) error {
	c.Name, c.Reason, c.By = text(c.Name), note(c.Reason), note(c.By)
	_, err := write(ctx, s, func(u unit) (edit int64, err error) {
		if _, err = u.one(sqlSetControl, []any{c.Kind, c.Name, c.Spec, c.Reason, c.By, millis(c.SetAt), millis(c.Until)}, &edit); err != nil {
			return edit, err
		}
		return edit, u.exec1(sqlLogControl, c.Kind, c.Name, edit, millis(c.SetAt), false, c.Spec, c.Reason, c.By, millis(c.Until))
	})
	return err
}

// DropControl is documented in orders.Controller.
func (s *Store) DropControl(ctx context.Context, kind orders.ControlKind, name, by, reason string, now time.Time) error {
	_, err := write(ctx, s, func(u unit) (edit int64, err error) {
		var spec string
		var until time.Time
		found, err := u.one(sqlDropControl, []any{kind, text(name), now.UnixMilli()}, &edit, &spec, moment{&until})
		if err != nil {
			return edit, err
		}
		if !found {
			return edit, fmt.Errorf("%w: no %s %q is in force", orders.ErrNotFound, kind, name)
		}
		return edit, u.exec1(sqlLogControl, kind, text(name), edit, millis(now), true, spec, note(reason), note(by), millis(until))
	})
	return err
}

// ControlLog is documented in orders.Controller.
func (s *Store) ControlLog(ctx context.Context, limit int) ([]orders.ControlChange, error) {
	return read(ctx, s, func(u unit) (list []orders.ControlChange, err error) {
		err = u.each(sqlControlLog, []any{limit}, func(row scan) error {
			var c orders.ControlChange
			err := row(&c.Control.Kind, &c.Control.Name, moment{&c.At}, &c.Dropped, &c.Control.Spec, &c.Reason, &c.By, moment{&c.Control.Until})
			c.Control.Reason, c.Control.By = c.Reason, c.By
			list = append(list, c)
			return err
		})
		return list, err
	})
}
