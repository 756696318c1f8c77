import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'containers', about: 'the containers service in a process of its own', parts: [part.containers] })
