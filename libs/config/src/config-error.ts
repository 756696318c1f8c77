/** A setting that cannot be used; the message names it and where it stands. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

/** Why a key cannot be used; the caller knows the file. */
export type Refuse = (path: readonly string[], why: string) => ConfigError

export type Table = Readonly<Record<string, unknown>>

export const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
