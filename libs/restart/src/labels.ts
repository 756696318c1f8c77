const prefix = 'containerd.io/restart.'

/** Labels of containers that the monitor reads; it writes `count`, and at its start `explicitly-stopped`. */
export const restartLabels = {
  /** The status that the task should have: `running` or `stopped`. Without it a container is none of our business. */
  status: `${prefix}status`,
  policy: `${prefix}policy`,
  /** How often the task was started again. */
  count: `${prefix}count`,
  /** Set by a client that stopped the task because somebody asked for it. */
  explicitlyStopped: `${prefix}explicitly-stopped`,
  /** Where the output of the new task goes: file:// or binary://. */
  logUri: `${prefix}loguri`,
  /** The same as a path, from before there was logUri. */
  logPath: `${prefix}logpath`,
} as const
