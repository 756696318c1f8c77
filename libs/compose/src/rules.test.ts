import { rules } from '@flotilla/access'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { methodsOf, type ServiceDefinition } from '@flotilla/rpc'
import { describe, expect, it } from 'vitest'
import { isForClients } from './gateway.ts'
import { parts } from './index.ts'

const served: ServiceDefinition[] = [...parts.flatMap((part) => part.serves), HealthDefinition]

describe('the table of what each method needs (libs/access/src/rules.ts)', () => {
  it.each(served.map((definition) => [definition.fullName, definition] as const))(
    'has every method of %s, and no other',
    (name, definition) => {
      expect(Object.keys(rules[name] ?? {}).sort()).toEqual(
        methodsOf(definition)
          .map(([, method]) => method.name)
          .sort(),
      )
    },
  )

  it('keeps clients from what is between services', () => {
    for (const definition of parts.flatMap((part) => part.serves).filter((each) => !isForClients(each)))
      expect(new Set(Object.values(rules[definition.fullName] ?? {}))).toEqual(new Set(['node']))
  })
})
