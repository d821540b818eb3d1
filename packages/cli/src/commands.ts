import type { Registry } from "./registry.ts";

type Add = (registry: Registry) => void;

/**
 * Every command, in the order of the help. One that is named is loaded alone: a command starts at once, and `openpool pool`,
 * which lives as long as the pool does, holds none of the code of the others.
 */
const groups: readonly (readonly [title: string, commands: Readonly<Record<string, () => Promise<Add>>>])[] = [
  [
    "Run:",
    {
      pool: async () => (await import("./commands/pool.ts")).addPoolCommand,
      worker: async () => (await import("./commands/worker.ts")).addWorkerCommand,
      push: async () => (await import("./commands/push.ts")).addPushCommand,
      demo: async () => (await import("./commands/demo.ts")).addDemoCommand,
    },
  ],
  [
    "Look after a running pool:",
    {
      workers: async () => (await import("./commands/workers.ts")).addWorkersCommand,
      alerts: async () => (await import("./commands/alerts.ts")).addAlertsCommand,
      rigs: async () => (await import("./commands/rigs.ts")).addRigsCommand,
      upstream: async () => (await import("./commands/upstream.ts")).addUpstreamCommand,
      events: async () => (await import("./commands/events.ts")).addEventsCommand,
      balances: async () => (await import("./commands/balances.ts")).addBalancesCommand,
      terms: async () => (await import("./commands/terms.ts")).addTermsCommand,
      ledger: async () => (await import("./commands/ledger.ts")).addLedgerCommand,
      statements: async () => (await import("./commands/statements.ts")).addStatementsCommand,
      payouts: async () => (await import("./commands/payouts.ts")).addPayoutsCommand,
      payto: async () => (await import("./commands/payto.ts")).addPayToCommand,
      income: async () => (await import("./commands/income.ts")).addIncomeCommand,
      solvency: async () => (await import("./commands/solvency.ts")).addSolvencyCommand,
      hooks: async () => (await import("./commands/hooks.ts")).addHooksCommand,
      restart: async () => (await import("./commands/restart.ts")).addRestartCommand,
      backup: async () => (await import("./commands/backup.ts")).addBackupCommand,
      restore: async () => (await import("./commands/backup.ts")).addRestoreCommand,
    },
  ],
  [
    "Find out:",
    {
      doctor: async () => (await import("./commands/doctor.ts")).addDoctorCommand,
      config: async () => (await import("./commands/config.ts")).addConfigCommand,
      docs: async () => (await import("./commands/docs.ts")).addDocsCommand,
    },
  ],
];

/** `docs` writes down what all the others say of themselves. */
const needsAll = "docs";

/** Registers the command that `name` is, or all of them when it is none: for the help, and for a guess at what was meant. */
export async function addCommands(registry: Registry, name: string | undefined): Promise<void> {
  const known = name !== needsAll && groups.some(([, commands]) => name !== undefined && Object.hasOwn(commands, name));
  for (const [title, commands] of groups) {
    registry.program.commandsGroup(title);
    for (const [one, load] of Object.entries(commands)) if (!known || one === name) (await load())(registry);
  }
}
