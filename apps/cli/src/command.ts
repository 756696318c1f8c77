import type { Client } from '@flotilla/client'

/** An option of the command line. */
export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** May be given several times. */
  readonly multiple?: boolean
  /** What stands for the value in help: `--tail LINES`. */
  readonly value?: string
  readonly text: string
  /** What the shell offers as values. */
  readonly completes?: Completes
}

export type Completes = 'nodes' | 'containers' | 'images' | 'files'

export type Values = Readonly<Record<string, string | boolean | ReadonlyArray<string | boolean> | undefined>>

/** What a command works with. */
export interface Context {
  readonly values: Values
  /** Its own arguments, without options. */
  readonly args: readonly string[]
  /** Opened when first asked for. */
  readonly client: Client
  /** `--output json` */
  readonly json: boolean
  readonly signal: AbortSignal
}

export interface Command {
  /** As it is typed, `nodes cordon`. */
  readonly name: string
  /** Arguments in help, `NAME…`. */
  readonly arguments?: string
  readonly summary: string
  /** More, below the options in help. */
  readonly details?: string
  readonly options?: Readonly<Record<string, Option>>
  /** How many arguments there may be; none unless given. */
  readonly count?: { readonly min: number; readonly max: number }
  /** After so many arguments everything is an argument, whatever it begins with: a command for a container. */
  readonly opaqueAfter?: number
  /** What the shell offers as arguments. */
  readonly completes?: Completes
  /** Answers the exit status; nothing is 0. */
  run(context: Context): Promise<number | undefined>
}

/** Wrong usage: told with a hint at --help, exit status 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UsageError'
  }
}

/** The text of an option, if it was given. */
export function text(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

export function flag(values: Values, name: string): boolean {
  return values[name] === true
}

/** The texts of an option that may be given several times. */
export function texts(values: Values, name: string): string[] {
  const value = values[name]
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
}

/** A whole number, if it was given. */
export function number(values: Values, name: string): number | undefined {
  const value = text(values, name)
  if (value === undefined) return undefined
  if (!/^\d+$/.test(value)) throw new UsageError(`--${name} "${value}" is not a whole number`)
  return Number(value)
}
