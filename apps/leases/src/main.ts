import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'leases', about: 'leases and garbage collection in a process of their own', parts: [part.leases] })
