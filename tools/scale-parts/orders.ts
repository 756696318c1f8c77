/** What a process of the simulation is told. */
export type Order =
  | { readonly do: 'start'; readonly count: number }
  | { readonly do: 'usage' }
  | { readonly do: 'commands' | 'events'; readonly nodes: number; readonly seconds: number }

export interface Answer {
  /** Seconds of processor time so far. */
  readonly cpu: number
  /** Messages heard, or things done. */
  readonly count: number
  /** Milliseconds. */
  readonly median: number
}
