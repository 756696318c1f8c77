/** The part of a field-mask path after `PREFIX.`: one literal key, dots and all; undefined when it is another path. */
export function maskedKey(path: string, prefix: string): string | undefined {
  return path.startsWith(`${prefix}.`) ? path.slice(prefix.length + 1) : undefined
}

/** `stored` with one key taken from `requested`: absent or empty there means deleted. */
export function withMaskedKey<T>(
  stored: Readonly<Record<string, T>>,
  requested: Readonly<Record<string, T>>,
  key: string,
): Record<string, T> {
  const { [key]: _, ...rest } = stored
  const value = Object.hasOwn(requested, key) ? requested[key] : undefined
  return value === undefined || (value as unknown) === '' ? rest : { ...rest, [key]: value }
}
