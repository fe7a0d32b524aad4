package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
)

// Reload takes another configuration whole, or changes nothing and says why: accounts with their keys, merchants, routes,
// calendar, and the clients' keys and rights. What is under way ends under the configuration that it began with.
func (a *App) Reload(ctx context.Context, c *configs.Config) error {
	err := a.reload(ctx, c)
	a.metrics.Reloaded(err == nil)
	if err != nil {
		a.log.Error("configuration not reloaded: the old one holds", "err", err)
		return err
	}
	a.log.Info("configuration reloaded", "accounts", len(c.Accounts), "merchants", len(c.Merchants), "clients", len(c.Clients))
	return nil
}

// ReloadRefused counts a file that could not be read as a configuration.
func (a *App) ReloadRefused() { a.metrics.Reloaded(false) }

func (a *App) reload(ctx context.Context, c *configs.Config) error {
	if fixed := changed(a.config, c); len(fixed) > 0 {
		return fmt.Errorf("restart the gateway to change %s", strings.Join(fixed, ", "))
	}
	var problems []error
	report := func(path string, err error) { problems = append(problems, fmt.Errorf("%s: %w", path, err)) }
	served, ways := a.served(c, report)
	err := errors.Join(problems...)
	if err == nil {
		err = a.api.Swap(clientsOf(c))
	}
	if err == nil {
		if err = a.router.Swap(served); err != nil {
			err = errors.Join(err, a.api.Swap(clientsOf(a.config)))
		}
	}
	if err != nil {
		closeAll(ways)
		return err
	}
	closeAll(a.ways) // idle connections only: calls that are under way end by themselves
	for _, account := range a.config.Accounts {
		if !slices.ContainsFunc(c.Accounts, func(n configs.Account) bool { return n.Name == account.Name }) {
			a.metrics.Forget(account.Name)
		}
	}
	a.config, a.ways = c, ways
	a.showClients(c)
	for _, account := range c.Accounts {
		a.account(account.Name)
	}
	a.jobs.Wake()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.tellUnasked(ctx); err != nil {
		a.log.Warn("not known whether payments wait at an account that is not configured any more", "err", err)
	}
	return nil
}

func closeAll(clients []*httpx.Client) {
	for _, c := range clients {
		c.Close()
	}
}

// changed are the settings that only a start reads.
func changed(was, is *configs.Config) []string {
	var names []string
	for name, same := range map[string]bool{
		"environment": was.Environment == is.Environment, "listen": was.Listen == is.Listen, "tls": was.TLS == is.TLS,
		"public_url": was.PublicURL == is.PublicURL, "trusted_proxies": slices.Equal(was.TrustedProxies, is.TrustedProxies),
		"store": was.Store.Fingerprint() == is.Store.Fingerprint(), "redis": was.Redis.Fingerprint() == is.Redis.Fingerprint(),
		"clients[].webhook": sameWebhooks(was.Clients, is.Clients),
	} {
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sameWebhooks says whether every client has the webhook that it had: a job of its own serves each.
func sameWebhooks(was, is []configs.Client) bool {
	hooks := func(list []configs.Client) map[string]string {
		m := map[string]string{}
		for _, c := range list {
			if c.Webhook != nil {
				m[c.ID] = c.Webhook.URL + " " + c.Webhook.Network + " " + c.Webhook.KeysFile
				for _, k := range c.Webhook.Keys {
					m[c.ID] += " " + k.Fingerprint()
				}
			}
		}
		return m
	}
	a, b := hooks(was), hooks(is)
	if len(a) != len(b) {
		return false
	}
	for id, hook := range a {
		if b[id] != hook {
			return false
		}
	}
	return true
}
