/** A line at the bottom of a terminal that log lines scroll past above. */
export interface StatusLine extends Disposable {
  /** Writes a whole line of the log. */
  log(line: string): void;
  show(text: string): void;
}

const clear = "\r\u001b[K";

/** `columns` says how wide the terminal is at the moment; a longer text is cut, for one that wraps cannot be cleared. */
export function createStatusLine(write: (text: string) => void, columns: () => number): StatusLine {
  let shown = "";
  return {
    log(line) {
      write(shown === "" ? line : `${clear}${line}${shown}`);
    },
    show(text) {
      const next = [...text].slice(0, Math.max(0, columns() - 1)).join("");
      if (next !== shown) write(`${clear}${next}`);
      shown = next;
    },
    [Symbol.dispose]() {
      if (shown !== "") write(clear);
      shown = "";
    },
  };
}
