import type { Clock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { PoolClient } from "pg";
import type { ConditionKey, ConditionState } from "../alerts/conditions.ts";
import type { AlertStep, AlertStore, NewDelivery, SubscriptionLoad } from "../alerts/ports.ts";
import type { AlertEvent, Concern, Measure } from "../alerts/rules.ts";
import type {
  Alert,
  AlertKind,
  Channel,
  ClaimedDelivery,
  Delivery,
  DeliveryState,
  QuietHours,
  Subscription,
  SubscriptionState,
  Thresholds,
  WorkerAlert,
} from "../alerts/types.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";
import { WAITS_FOR_HOOK } from "./scheme-store.ts";
import { createUuidV7 } from "./uuid.ts";

/** Deliveries to one destination that are taken at once. */
const MOST_EACH = 20;

interface ConditionRow {
  readonly kind: AlertKind;
  readonly subject: string;
  readonly threshold: string;
  readonly worker: WorkerAddress | null;
  readonly rig: string | null;
  readonly bad: boolean;
  readonly since: Date;
  readonly raised: boolean;
  readonly due_at: Date | null;
  readonly raised_at: Date | null;
  readonly episodes: number;
  readonly connections: string[];
  readonly data: Record<string, unknown>;
}

const toCondition = ({ since, due_at, raised_at, ...row }: ConditionRow): ConditionState => ({
  kind: row.kind,
  subject: row.subject,
  threshold: row.threshold,
  worker: row.worker,
  rig: row.rig,
  bad: row.bad,
  sinceMs: since.getTime(),
  raised: row.raised,
  dueMs: due_at?.getTime(),
  raisedAtMs: raised_at?.getTime(),
  episodes: row.episodes,
  connections: row.connections,
  data: row.data,
});

interface SubscriptionRow {
  readonly id: string;
  readonly worker: WorkerAddress;
  readonly channel: Channel;
  readonly kinds: WorkerAlert[];
  readonly thresholds: Thresholds;
  readonly quiet: QuietHours | null;
  readonly state: SubscriptionState;
  readonly owned: boolean;
  readonly created_at: Date;
}
const SUBSCRIPTION = "id, worker, channel, kinds, thresholds, quiet, state, owned, created_at";

const toSubscription = ({ created_at, quiet, ...row }: SubscriptionRow): Subscription => ({
  id: row.id,
  worker: row.worker,
  channel: row.channel,
  kinds: row.kinds,
  thresholds: row.thresholds,
  quiet: quiet ?? undefined,
  state: row.state,
  owned: row.owned,
  createdAtMs: created_at.getTime(),
});

interface DeliveryRow {
  readonly id: string;
  readonly destination: string;
  readonly alert: Alert;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly next_at: Date;
  readonly created_at: Date;
  readonly done_at: Date | null;
  readonly error: string | null;
}
const DELIVERY = "id, destination, alert, state, attempts, next_at, created_at, done_at, error";

const toDelivery = ({ next_at, created_at, done_at, error, ...row }: DeliveryRow): Delivery => ({
  id: row.id,
  destination: row.destination,
  alert: row.alert,
  state: row.state,
  attempts: row.attempts,
  nextAtMs: next_at.getTime(),
  createdAtMs: created_at.getTime(),
  sentAtMs: row.state === "sent" ? done_at?.getTime() : undefined,
  error: error ?? undefined,
});

/** What two subscriptions may not share: kind and target, without secrets that may change. */
function targetOf(channel: Channel): string {
  switch (channel.kind) {
    case "email":
      return `email ${channel.to.toLowerCase()}`;
    case "telegram":
      return `telegram ${channel.chat.toLowerCase()}`;
    default:
      return `${channel.kind} ${channel.url}`;
  }
}

const date = (ms: number): Date => new Date(ms);

/** The memory of the alerts in PostgreSQL. The schema is the event log's: open that first. */
export class PgAlertStore implements AlertStore, AsyncDisposable {
  readonly #clock: Clock;
  readonly #pool: PgPool;
  readonly #newId: () => string;

  constructor(connection: PgConnection, { clock }: { readonly clock: Clock }) {
    this.#clock = clock;
    this.#newId = createUuidV7(() => clock.now());
    this.#pool = new PgPool(connection, { name: "alerts", max: 3, timeoutMs: 30_000, about: "alerts" });
  }

  step<T>(work: (step: AlertStep) => Promise<T>): Promise<T | undefined> {
    return this.#pool.transaction(async (client) => {
      const { rows: cursor } = await client.query<{ position: string }>(
        "select position from openpool.alert_cursor for update skip locked",
      );
      const { rows: head } = await client.query<{ position: string }>("select position from openpool.log_head");
      return cursor[0] && head[0]
        ? work(new PgStep(client, this.#clock, this.#newId, BigInt(cursor[0].position), BigInt(head[0].position)))
        : undefined;
    });
  }

  async measures(
    workers: readonly WorkerAddress[],
    sinceMs: number,
    forHooks: readonly WorkerAddress[],
  ): Promise<readonly (Measure & { readonly worker: WorkerAddress; readonly rig: string })[]> {
    const rows = await this.#pool.query<{
      worker: WorkerAddress;
      rig: string;
      jobs: string;
      failed: string;
      source_ms: string;
      work_ms: string;
      last_at: Date | null;
    }>(
      // After two days only the hour of a job is known: the last minute of it, so that nobody is told too early.
      `select s.worker, s.rig, coalesce(sum(m.jobs), 0) as jobs, coalesce(sum(m.failed), 0) as failed,
         coalesce(sum(m.source_ms), 0) as source_ms, coalesce(sum(m.work_ms), 0) as work_ms, coalesce(
           (select at from openpool.rollup_minutes where subject = s.id and jobs > 0 order by at desc limit 1),
           (select at + interval '59 minutes' from openpool.rollup_hours where subject = s.id and jobs > 0
            order by at desc limit 1)) as last_at
       from openpool.rollup_subjects s left join openpool.rollup_minutes m on m.subject = s.id and m.at >= $2
       where s.worker = any ($1) group by s.id`,
      [workers, date(sinceMs)],
    );
    const waiting = await this.#waitingForHook(forHooks);
    return rows.map((row) => {
      return {
        worker: row.worker,
        rig: row.rig,
        jobs: Number(row.jobs),
        failedAttempts: Number(row.failed),
        sourceMs: Number(row.source_ms),
        workMs: Number(row.work_ms),
        lastJobAtMs: row.last_at?.getTime(),
        waiting: row.rig === "" ? waiting?.get(row.worker) : undefined,
      };
    });
  }

  /** What of workers waits because the pool's hook failed; undefined: that took too long to be counted. */
  async #waitingForHook(
    workers: readonly WorkerAddress[],
  ): Promise<ReadonlyMap<WorkerAddress, { readonly jobs: number; readonly feeWei: bigint }> | undefined> {
    if (workers.length === 0) return undefined;
    const query = this.#pool.query<{ worker: WorkerAddress; jobs: string; fee_wei: string }>(
      `select w.worker, count(l.id) as jobs, coalesce(sum(l.fee_wei), 0) as fee_wei
       from openpool.ledger_workers w left join openpool.ledger_lines l on w.id = l.worker and ${WAITS_FOR_HOOK}
       where w.worker = any ($1) group by w.worker`,
      [workers],
    );
    // A hook that failed for hours leaves millions of lines. Other alerts do not wait for them.
    const rows = await query.catch(() => undefined);
    return rows && new Map(rows.map((row) => [row.worker, { jobs: Number(row.jobs), feeWei: BigInt(row.fee_wei) }]));
  }

  async subscribed(kinds: readonly AlertKind[]): Promise<readonly Subscription[]> {
    const rows = await this.#pool.query<SubscriptionRow>(
      `select ${SUBSCRIPTION} from openpool.alert_subscriptions where state = 'active' and kinds && $1`,
      [kinds],
    );
    return rows.map(toSubscription);
  }

  async linkKey(): Promise<string> {
    const [row] = await this.#pool.query<{ link_key: string }>("select link_key from openpool.alert_cursor");
    // The migration made the row.
    return row!.link_key;
  }

  enqueue(deliveries: readonly NewDelivery[]): Promise<void> {
    return this.#pool.transaction((client) => enqueue(client, deliveries, this.#newId, this.#clock.now()));
  }

  async claim(
    nowMs: number,
    leaseUntilMs: number,
    limit: number,
    busy: readonly string[],
  ): Promise<readonly ClaimedDelivery[]> {
    const rows = await this.#pool.query<DeliveryRow & { readonly cut_off: Date | null; readonly leased_until: Date }>(
      `with due as (
         select id, destination, created_at, row_number() over (partition by destination order by created_at, id) as n
         from openpool.alert_outbox
         where state = 'waiting' and next_at <= $1 and (leased_until is null or leased_until <= $1)
           and destination <> all ($4)
       ), wanted as (
         select o.id, o.destination, o.attempts, o.next_at, o.leased_until as cut_off
         from openpool.alert_outbox o join due using (id) where due.n <= ${MOST_EACH}
           and o.state = 'waiting' and (o.leased_until is null or o.leased_until <= $1)
         order by due.created_at, due.id limit $3 for update of o skip locked
       ), grouped as (
         -- What was in one message stays apart from the others by its lease, however often it is cut off.
         select id, cut_off, dense_rank() over (partition by destination order by cut_off, attempts, next_at) as message
         from wanted
       )
       update openpool.alert_outbox o set leased_until = $2::timestamptz + grouped.message * interval '1 ms'
       from grouped where o.id = grouped.id
       returning ${DELIVERY.replaceAll(/\w+/g, "o.$&")}, grouped.cut_off, o.leased_until`,
      [date(nowMs), date(leaseUntilMs), limit, busy],
    );
    return rows
      .map(({ cut_off, leased_until, ...row }) => ({
        ...toDelivery(row),
        cutOffAtMs: cut_off?.getTime(),
        leaseUntilMs: leased_until.getTime(),
      }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async putBack(deliveries: readonly ClaimedDelivery[], nextAtMs?: number): Promise<void> {
    await this.#pool.query(
      `update openpool.alert_outbox o set leased_until = mine.cut_off, next_at = coalesce($4, o.next_at)
       from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) as mine (id, leased_until, cut_off)
       where o.id = mine.id and o.leased_until = mine.leased_until and o.state = 'waiting'`,
      [
        deliveries.map((one) => one.id),
        deliveries.map((one) => date(one.leaseUntilMs)),
        deliveries.map((one) => (one.cutOffAtMs === undefined ? null : date(one.cutOffAtMs))),
        nextAtMs === undefined ? null : date(nextAtMs),
      ],
    );
  }

  async sent(ids: readonly string[], atMs: number): Promise<void> {
    await this.#pool.query(
      `update openpool.alert_outbox set state = 'sent', done_at = $2, attempts = attempts + 1, error = null, leased_until = null
       where id = any ($1) and state = 'waiting'`,
      [ids, date(atMs)],
    );
  }

  async retry(ids: readonly string[], nextAtMs: number, error: string): Promise<void> {
    await this.#pool.query(
      `update openpool.alert_outbox set attempts = attempts + 1, next_at = $2, error = $3, leased_until = null
       where id = any ($1) and state = 'waiting'`,
      [ids, date(nextAtMs), error],
    );
  }

  async dead(ids: readonly string[], atMs: number, error: string): Promise<void> {
    await this.#pool.query(
      `update openpool.alert_outbox set state = 'dead', attempts = attempts + 1, done_at = $2, error = $3, leased_until = null
       where id = any ($1) and state = 'waiting'`,
      [ids, date(atMs), error],
    );
  }

  async deliveries({
    state,
    limit,
  }: {
    readonly state?: DeliveryState | undefined;
    readonly limit: number;
  }): Promise<readonly Delivery[]> {
    const rows = await this.#pool.query<DeliveryRow>(
      `select ${DELIVERY} from openpool.alert_outbox where $1::text is null or state = $1
       order by created_at desc, id desc limit $2`,
      [state ?? null, limit],
    );
    return rows.map(toDelivery);
  }

  async replay(ids: readonly string[] | undefined, nowMs: number): Promise<number> {
    const rows = await this.#pool.query(
      `update openpool.alert_outbox set state = 'waiting', attempts = 0, next_at = $2, done_at = null, leased_until = null
       where state = 'dead' and ($1::uuid[] is null or id = any ($1)) returning id`,
      [ids ?? null, date(nowMs)],
    );
    return rows.length;
  }

  async counts(): Promise<Readonly<Record<DeliveryState, number>>> {
    const rows = await this.#pool.query<{ state: DeliveryState; n: string }>(
      "select state, count(*) as n from openpool.alert_outbox group by state",
    );
    const of = new Map(rows.map((row) => [row.state, Number(row.n)]));
    return { waiting: of.get("waiting") ?? 0, sent: of.get("sent") ?? 0, dead: of.get("dead") ?? 0 };
  }

  async forget(sentBeforeMs: number, pendingBeforeMs: number): Promise<void> {
    await this.#pool.query("delete from openpool.alert_outbox where state <> 'waiting' and created_at < $1", [
      date(sentBeforeMs),
    ]);
    await this.#pool.query("delete from openpool.alert_subscriptions where state = 'pending' and created_at < $1", [
      date(pendingBeforeMs),
    ]);
  }

  async addSubscription(subscription: Subscription): Promise<Subscription | undefined> {
    const { id, worker, channel, kinds, thresholds, quiet, state, owned, createdAtMs } = subscription;
    const target = targetOf(channel);
    if (owned) {
      // Ended and not deleted: what a target was asked counts for the day.
      await this.#pool.query(
        `update openpool.alert_subscriptions set state = 'ended', changed_at = $3, ended_why = 'asked for anew'
         where worker = $1 and target = $2 and owned and state = 'pending'`,
        [worker, target, date(createdAtMs)],
      );
    }
    const [row] = await this.#pool.query<SubscriptionRow>(
      `insert into openpool.alert_subscriptions
         (id, worker, channel, target, kinds, thresholds, quiet, state, owned, created_at, changed_at)
       select $1::uuid, $2::text, $3::json, $4::text, $5::text[], $6::json, $7::json, $8::text, $9::boolean, $10::timestamptz, $10
       where $9 or not exists (select from openpool.alert_subscriptions
         where worker = $2 and target = $4 and owned and state = 'active')
       on conflict (worker, target, owned) where state <> 'ended' do nothing returning ${SUBSCRIPTION}`,
      [
        id,
        worker,
        JSON.stringify(channel),
        target,
        kinds,
        JSON.stringify(thresholds),
        quiet === undefined ? null : JSON.stringify(quiet),
        state,
        owned,
        date(createdAtMs),
      ],
    );
    if (row) return toSubscription(row);
    if (owned) {
      const there = (await this.ownSubscriptions(worker)).find((one) => targetOf(one.channel) === target);
      if (there) await this.changeSubscription(there.id, subscription);
    }
    return undefined;
  }

  async subscription(id: string): Promise<Subscription | undefined> {
    const [row] = await this.#pool.query<SubscriptionRow>(
      `select ${SUBSCRIPTION} from openpool.alert_subscriptions where id = $1`,
      [id],
    );
    return row && toSubscription(row);
  }

  async ownSubscriptions(worker: WorkerAddress): Promise<readonly Subscription[]> {
    const rows = await this.#pool.query<SubscriptionRow>(
      `select ${SUBSCRIPTION} from openpool.alert_subscriptions where worker = $1 and owned and state <> 'ended' order by created_at, id`,
      [worker],
    );
    return rows.map(toSubscription);
  }

  async changeSubscription(
    id: string,
    { kinds, thresholds, quiet }: Pick<Subscription, "kinds" | "thresholds" | "quiet">,
  ): Promise<Subscription | undefined> {
    const [row] = await this.#pool.query<SubscriptionRow>(
      `update openpool.alert_subscriptions set kinds = $2, thresholds = $3, quiet = $4
       where id = $1 and state <> 'ended' returning ${SUBSCRIPTION}`,
      [id, kinds, JSON.stringify(thresholds), quiet === undefined ? null : JSON.stringify(quiet)],
    );
    return row && toSubscription(row);
  }

  async setSubscriptionState(
    id: string,
    state: SubscriptionState,
    atMs: number,
    why: string | undefined,
  ): Promise<boolean> {
    const [row] = await this.#pool.query<{ owned: boolean }>(
      `update openpool.alert_subscriptions set state = $2, changed_at = $3, ended_why = $4
       where id = $1 and state <> 'ended' and state <> $2 returning owned`,
      [id, state, date(atMs), why ?? null],
    );
    if (row?.owned && state === "active") {
      await this.#pool.query(
        `update openpool.alert_subscriptions o set state = 'ended', changed_at = $2, ended_why = 'the worker made its own'
         from openpool.alert_subscriptions s
         where s.id = $1 and o.worker = s.worker and o.target = s.target and not o.owned and o.state <> 'ended'`,
        [id, date(atMs)],
      );
    }
    return row !== undefined;
  }

  async load(channel: Channel, worker: WorkerAddress, sinceMs: number): Promise<SubscriptionLoad> {
    const [row] = await this.#pool.query<{ [load in keyof SubscriptionLoad]: string }>(
      `select (select count(*) from openpool.alert_subscriptions where target = $1 and created_at >= $3) as target,
         (select count(*) from openpool.alert_subscriptions where worker = $2 and state <> 'ended') as worker,
         (select count(*) from openpool.alert_subscriptions where worker = $2 and owned and state <> 'ended') as owned,
         (select count(*) from openpool.alert_subscriptions where state = 'pending') as pending,
         (select count(*) from openpool.alert_subscriptions where state = 'active') as active`,
      [targetOf(channel), worker, date(sinceMs)],
    );
    return {
      target: Number(row?.target ?? 0),
      worker: Number(row?.worker ?? 0),
      owned: Number(row?.owned ?? 0),
      pending: Number(row?.pending ?? 0),
      active: Number(row?.active ?? 0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}

class PgStep implements AlertStep {
  readonly position: bigint;
  readonly head: bigint;
  readonly #client: PoolClient;
  readonly #clock: Clock;
  readonly #newId: () => string;

  constructor(client: PoolClient, clock: Clock, newId: () => string, position: bigint, head: bigint) {
    this.#client = client;
    this.#clock = clock;
    this.#newId = newId;
    this.position = position;
    this.head = head;
  }

  async events(types: readonly string[], limit: number): Promise<readonly AlertEvent[]> {
    const { rows } = await this.#client.query<{
      position: string;
      type: string;
      time: Date;
      worker: WorkerAddress | null;
      rig: string | null;
      data: Record<string, unknown>;
    }>(
      // The last condition is what the index on types is made for.
      `select position, type, time, worker, rig, data from openpool.events
       where position > $1 and position <= $2 and type = any ($3) and type <> 'job.credited' order by position limit $4`,
      [this.position, this.head, types, limit],
    );
    return rows.map((row) => ({
      position: BigInt(row.position),
      type: row.type,
      atMs: row.time.getTime(),
      worker: row.worker ?? undefined,
      rig: row.rig ?? undefined,
      data: row.data,
    }));
  }

  conditions(keys: readonly ConditionKey[]): Promise<readonly ConditionState[]> {
    return this.#conditions(
      "(kind, subject, threshold) in (select * from unnest($1::text[], $2::text[], $3::text[]))",
      [keys.map((key) => key.kind), keys.map((key) => key.subject), keys.map((key) => key.threshold)],
    );
  }

  present(kinds: readonly AlertKind[]): Promise<readonly ConditionState[]> {
    return this.#conditions("kind = any ($1) and not bad and connections <> '{}'", [kinds]);
  }

  standing(kinds: readonly AlertKind[]): Promise<readonly ConditionState[]> {
    return this.#conditions("kind = any ($1) and (bad or raised)", [kinds]);
  }

  due(nowMs: number): Promise<readonly ConditionState[]> {
    return this.#conditions("due_at <= $1", [date(nowMs)]);
  }

  async #conditions(where: string, values: readonly unknown[]): Promise<readonly ConditionState[]> {
    const { rows } = await this.#client.query<ConditionRow>(
      `select kind, subject, threshold, worker, rig, bad, since, raised, due_at, raised_at, episodes, connections, data
       from openpool.alert_conditions where ${where}`,
      [...values],
    );
    return rows.map(toCondition);
  }

  async putConditions(states: readonly ConditionState[]): Promise<void> {
    if (states.length === 0) return;
    const time = (ms: number | undefined): string | null => (ms === undefined ? null : date(ms).toISOString());
    await this.#client.query(
      `insert into openpool.alert_conditions
         (kind, subject, threshold, worker, rig, bad, since, raised, due_at, raised_at, episodes, connections, data)
       select kind, subject, threshold, worker, rig, bad, since, raised, due_at, raised_at, episodes,
         array(select json_array_elements_text(connections)), data
       from json_to_recordset($1) as c (kind text, subject text, threshold text, worker text, rig text, bad boolean,
         since timestamptz, raised boolean, due_at timestamptz, raised_at timestamptz, episodes integer, connections json, data json)
       on conflict (kind, subject, threshold) do update set bad = excluded.bad, since = excluded.since,
         raised = excluded.raised, due_at = excluded.due_at, raised_at = excluded.raised_at,
         episodes = excluded.episodes, connections = excluded.connections, data = excluded.data`,
      [
        JSON.stringify(
          states.map(({ sinceMs, dueMs, raisedAtMs, ...state }) => ({
            ...state,
            since: time(sinceMs),
            due_at: time(dueMs),
            raised_at: time(raisedAtMs),
          })),
        ),
      ],
    );
  }

  async concerned(
    concern: Concern & { readonly of: "run" | "intent" },
  ): Promise<ReadonlyMap<WorkerAddress, Readonly<Record<string, unknown>>>> {
    const id = concern.of === "run" ? concern.run : concern.intent;
    if (!/^[0-9a-f-]{36}$/.test(id)) return new Map();
    const { rows } = await this.#client.query<{
      worker: WorkerAddress;
      amount_wei: string;
      pay_to: string;
      send_amount: string;
      asset: string;
    }>(`select worker, amount_wei, pay_to, send_amount, asset from openpool.payout_lines where ${concern.of} = $1`, [
      id,
    ]);
    return new Map(
      rows.map(({ worker, amount_wei, pay_to, send_amount, asset }) => [
        worker,
        { amountWei: amount_wei, payTo: pay_to, sendAmount: send_amount, asset },
      ]),
    );
  }

  async subscriptions(workers: readonly WorkerAddress[] | "all"): Promise<readonly Subscription[]> {
    const { rows } = await this.#client.query<SubscriptionRow>(
      `select ${SUBSCRIPTION} from openpool.alert_subscriptions
       where state = 'active' and ($1::text[] is null or worker = any ($1))`,
      [workers === "all" ? null : workers],
    );
    return rows.map(toSubscription);
  }

  enqueue(deliveries: readonly NewDelivery[]): Promise<void> {
    return enqueue(this.#client, deliveries, this.#newId, this.#clock.now());
  }

  async moveTo(position: bigint): Promise<void> {
    if (position === this.position) return;
    await this.#client.query("update openpool.alert_cursor set position = $1", [position]);
  }
}

async function enqueue(
  client: PoolClient,
  deliveries: readonly NewDelivery[],
  newId: () => string,
  nowMs: number,
): Promise<void> {
  if (deliveries.length === 0) return;
  await client.query(
    `insert into openpool.alert_outbox (id, alert_key, destination, kind, alert, state, next_at, created_at)
     select id, key, destination, alert->>'kind', alert, 'waiting', next_at, $5
     from unnest($1::uuid[], $2::text[], $3::text[], $4::json[], $6::timestamptz[]) as d (id, key, destination, alert, next_at)
     on conflict (alert_key, destination) do nothing`,
    [
      deliveries.map(() => newId()),
      deliveries.map(({ alert }) => alert.key),
      deliveries.map(({ destination }) => destination),
      deliveries.map(({ alert }) => JSON.stringify(alert)),
      date(nowMs),
      deliveries.map(({ nextAtMs }) => date(nextAtMs)),
    ],
  );
}
