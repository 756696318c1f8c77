import type { Part } from './part.ts'
import { parts } from './parts/index.ts'

/** The part that serves a service, by the service's full name. */
export function partOf(service: string): Part | undefined {
  return parts.find((part) => part.serves.some((definition) => definition.fullName === service))
}
