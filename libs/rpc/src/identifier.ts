import { invalidArgument } from './errors.ts'

/** Longest identifier in bytes (upstream pkg/identifiers). */
export const maxIdentifierLength = 76

const pattern = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/

/**
 * Checks a namespace name, container id, sandbox id or topic part. Throws INVALID_ARGUMENT whose text is
 * `PREFIXidentifier "X" …`, as containerd words it.
 */
export function validateIdentifier(value: string, prefix = ''): void {
  if (value.length === 0) throw invalidArgument(`${prefix}identifier must not be empty`)
  if (Buffer.byteLength(value) > maxIdentifierLength) {
    throw invalidArgument(
      `${prefix}identifier ${JSON.stringify(value)} greater than maximum length (${maxIdentifierLength} characters)`,
    )
  }
  if (!pattern.test(value))
    throw invalidArgument(`${prefix}identifier ${JSON.stringify(value)} must match ${pattern.source}`)
}
