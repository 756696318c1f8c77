import { invalidArgument } from '@flotilla/rpc'

/** Most bytes that key and value of a label may have together (upstream pkg/labels). */
export const maxLabelBytes = 4096

/**
 * Checks the length of each label, and that its key is not empty. INVALID_ARGUMENT begins with `prefix`, e.g. `containers.Labels: `. Empty values are
 * dropped by {@link withoutEmpty}, not refused.
 */
export function validateLabels(labels: Readonly<Record<string, string>>, prefix: string): void {
  for (const [key, value] of Object.entries(labels)) {
    if (key === '') throw invalidArgument(`${prefix}label key must not be empty`)
    const bytes = Buffer.byteLength(key) + Buffer.byteLength(value)
    if (bytes > maxLabelBytes) {
      throw invalidArgument(
        `${prefix}label key and value length (${bytes} bytes) greater than maximum size (${maxLabelBytes} bytes), key: ${key.slice(0, 64)}`,
      )
    }
  }
}

/** A label with an empty value is never stored. */
export function withoutEmpty(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''))
}
