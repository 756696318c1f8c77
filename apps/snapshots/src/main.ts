import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'snapshots', about: 'the snapshots service in a process of its own', parts: [part.snapshots] })
