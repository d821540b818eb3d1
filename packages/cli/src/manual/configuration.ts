import { type Option, type OptionDefinitions, optionFlag, optionVariable } from "@openpool/base";
import { settingsOf } from "../settings/commands.ts";

const intro = `# Configuration

<!-- Written by \`npm run docs\` from the definitions of the settings. Edit those, not this file. -->

Every setting has one name. \`listen\` is the flag \`--listen\`, the variable \`OPENPOOL_LISTEN\` and the line
\`listen: …\` in the YAML file that \`--config FILE\` (or \`OPENPOOL_CONFIG\`) names. A flag wins over the environment, that
over the file, that over the default. An empty variable counts as not set. Relative paths start in the current directory;
those in the file, from the file.

Whatever is wrong (unknown names, bad values, settings that do not fit together) is told all at once, before anything is
started. \`openpool config\` prints what is in force and where each value comes from.

\`\`\`yaml
# pool.yaml
service-uri: https://pool.example.com:8935
data-dir: /var/lib/openpool
join: [open, registered]
price-per-unit: 1200
commission: 10%
\`\`\`
`;

const titles: Readonly<Record<keyof typeof settingsOf, string>> = {
  pool: "`openpool pool`",
  worker: "`openpool worker`",
  push: "`openpool push`",
};

/** `docs/configuration.md`. */
export function configurationManual(): string {
  const sections = Object.entries(settingsOf).map(
    ([command, definitions]) => `## ${titles[command as keyof typeof settingsOf]}\n\n${manualOf(definitions)}`,
  );
  return `${intro}\n${sections.join("\n")}`;
}

function manualOf(definitions: OptionDefinitions): string {
  const groups = new Map<string, string[]>();
  for (const one of Object.values(definitions)) groups.set(one.group, [...(groups.get(one.group) ?? []), entryOf(one)]);
  return [...groups].map(([group, entries]) => `### ${group}\n\n${entries.join("\n")}`).join("\n");
}

function entryOf(one: Option<unknown>): string {
  const { placeholder } = one.kind;
  const flag = `${optionFlag(one.name)}${placeholder === undefined ? "" : ` ${placeholder}`}`;
  const fallback = one.default === undefined ? (one.defaultNote ?? "none") : `\`${one.default}\``;
  const lines = [
    `#### \`${one.name}\``,
    "",
    `${sentence(one.help)}${one.details === undefined ? "" : ` ${one.details}`}`,
    "",
    `- Written as: \`${flag}\`, \`${optionVariable(one.name)}\``,
    `- Value: ${one.kind.allowed}`,
    `- Default: ${fallback}`,
    "",
  ];
  return lines.join("\n");
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}
