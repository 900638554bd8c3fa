"""The four services; none imports another. `services.all_in_one` alone knows them all."""
