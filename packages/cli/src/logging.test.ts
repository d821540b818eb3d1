import { describe, expect, test } from "vitest";
import { createLogger, type LoggingOptions } from "./logging.ts";

function log(options: Partial<LoggingOptions>, write: (logger: ReturnType<typeof createLogger>) => void): string {
  let text = "";
  const logger = createLogger(
    { level: "info", format: "pretty", colour: false, ...options },
    (line) => (text += line),
    () => new Date(2026, 0, 1, 12, 30, 5),
  );
  write(logger);
  return text;
}

describe("a line for people", () => {
  test("is short, with its fields behind", () => {
    expect(
      log({}, (logger) =>
        logger.child({ rig: "rig1" }).info("a rig joined", { capacity: 4n, note: "two words", gone: undefined }),
      ),
    ).toBe('12:30:05 a rig joined  rig=rig1  capacity=4  note="two words"\n');
  });

  test("stays one line and steers no terminal, whatever a peer sent", () => {
    const text = log({}, (logger) =>
      logger.warn("refused", { text: "a\nb\u001b[31m\u009b", error: new Error("x\ny") }),
    );
    expect(text).toBe("12:30:05 warn: refused  text=a\\nb\\x1b[31m\\x9b  error=x\\ny\n");
  });

  test("is left out below the level", () => {
    expect(log({ level: "warn" }, (logger) => logger.info("nothing"))).toBe("");
  });
});

test("a line for machines is one JSON object, wei as decimal strings, errors with their stack", () => {
  const text = log({ format: "json" }, (logger) =>
    logger.child({ rig: "rig1" }).error("lost", { wei: 10n ** 30n, error: new Error("why", { cause: "that" }) }),
  );
  expect(JSON.parse(text)).toEqual({
    level: "error",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    rig: "rig1",
    wei: `1${"0".repeat(30)}`,
    error: { message: "why", stack: expect.stringContaining("logging.test.ts"), cause: "that" },
    message: "lost",
  });
});
