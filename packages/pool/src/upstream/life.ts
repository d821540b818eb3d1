/** What was known of an orchestrator when a registration with it was about to begin. */
export interface Opening {
  /** SHA-256 of the certificate that it showed. */
  readonly fingerprint: string;
  /** Registrations are counted in the order in which they began. */
  readonly number: number;
  /** Which of its lives was known then, and the highest task id in it. */
  readonly life: number;
  readonly highestTask: bigint;
}

/**
 * Tells the lives of an orchestrator apart: a new one begins its task ids at 0, and takes an answer to the life before for its
 * own task's. A stock one makes a certificate at every start. Behind a proxy with a certificate of its own, ids tell: they are
 * counted over all registrations, so what comes on one of them has a higher id than whatever came before it began.
 */
export class OrchestratorLives {
  #fingerprint = "";
  #life = 0;
  /** Of the registration on which this life was noticed. */
  #noticedOn = 0;
  #highestTask = -1n;
  #openings = 0;

  /** Ask before the registration is sent. */
  opening(fingerprint: string): Opening {
    return { fingerprint, number: this.#openings++, life: this.#life, highestTask: this.#highestTask };
  }

  /**
   * From which life a task is: the one before it, a new one, so that everything before is over, or one that is over.
   * `isRunning`: a task with this id is being done.
   */
  ofTask(from: Opening, taskId: bigint, isRunning: boolean): "same" | "new" | "over" {
    const other = from.fingerprint !== this.#fingerprint;
    if (other && from.number < this.#noticedOn) return "over";
    if (other || isRunning || (from.life === this.#life && taskId <= from.highestTask)) {
      this.#fingerprint = from.fingerprint;
      this.#life++;
      this.#noticedOn = from.number;
      this.#highestTask = taskId;
      return "new";
    }
    if (taskId > this.#highestTask) this.#highestTask = taskId;
    return "same";
  }
}
