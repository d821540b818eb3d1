import type { Migration } from "./migration.ts";

/** What somebody else subscribed to is no reason that a worker's own subscription vanishes. */
export const ownAlerts: Migration = {
  version: 19,
  name: "a worker's own subscriptions are apart from others'",
  sql: `
drop index openpool.alert_subscriptions_one;
create unique index alert_subscriptions_one on openpool.alert_subscriptions (worker, target, owned) where state <> 'ended';
`,
};
